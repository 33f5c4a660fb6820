package partition

import "fmt"

// SkipTo makes a log that holds nothing begin and end at an offset, so that whatever is appended next gets that. The
// offset may lie below the end: what was given in between was never in this log. A log that holds something is left as
// it is, with an error. The leader epoch stays, and begins there.
func (l *Log) SkipTo(offset int64) error {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start != l.end || len(l.segments) > 0 || offset < 0 {
		return fmt.Errorf("partition: %s holds offsets [%d, %d) and can't skip to %d", l.dir, l.start, l.end, offset)
	}
	l.epochs = epochs{{Epoch: l.epochs.latest(), Offset: offset}}
	l.start, l.written, l.end, l.syncedEnd = offset, offset, offset, offset
	return nil
}

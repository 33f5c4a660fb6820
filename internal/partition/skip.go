package partition

import "fmt"

// SkipTo makes an empty log begin and end at offset, so that the next batch gets that offset. offset may be below the
// log's end, provided that no record ever had one of the offsets in between. The latest leader epoch then begins at
// offset. If the log is not empty, SkipTo changes nothing and returns an error.
func (l *Log) SkipTo(offset int64) error {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start != l.end || len(l.segments) > 0 || offset < 0 {
		return fmt.Errorf("partition: %s holds offsets [%d, %d) and can't skip to %d", l.dir, l.start, l.end, offset)
	}
	l.epochs = epochs{{Epoch: l.epochs.latest(), Offset: offset}}
	l.transactions = transactions{}
	l.start, l.written, l.end, l.syncedEnd = offset, offset, offset, offset
	return nil
}

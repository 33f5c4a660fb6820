package partition

// Unsent is how many bytes the disk was neither made nor asked to take: those in memory only, and those of segments
// that no Sync and no WriteOut has covered.
func (l *Log) Unsent() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	unsent := l.tail.unwrittenBytes
	for i := len(l.segments) - 1; i >= 0 && l.segments[i].unsent() > 0; i-- {
		unsent += l.segments[i].unsent()
	}
	return unsent
}

// unsent is how much of the segment the disk was not yet asked to take.
func (s *segment) unsent() int64 { return s.SizeBytes - max(s.synced.SizeBytes, s.sentBytes) }

// WriteOut is Flush, and asks the disk to take up to limitBytes of what is unsent, oldest first; it returns how many bytes
// these are. Nothing is durable by that, but Sync has less left to do at once: with many logs under way together, what
// the file system commits for the first of them covers the others. An error of the disk fences the log's files, as one
// of Sync does.
func (l *Log) WriteOut(limitBytes int64) (int64, error) {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flush(); err != nil {
		return 0, err
	}
	var sentBytes int64
	for _, seg := range l.dirtySegments() {
		// Made here, and not by Sync between two logs' syncs, the index needs no commit of the file system of its own.
		if err := l.writeIndex(seg); err != nil {
			return sentBytes, err
		}
		from, n := seg.SizeBytes-seg.unsent(), min(seg.unsent(), limitBytes-sentBytes)
		if n <= 0 {
			continue
		}
		if err := l.sendOut(seg, from, n, false); err != nil {
			return sentBytes, err
		}
		sentBytes += n
		l.mu.Lock()
		seg.sentBytes = from + n
		l.mu.Unlock()
	}
	return sentBytes, nil
}

// AwaitWriteOut returns when the disk has taken what WriteOut sent.
func (l *Log) AwaitWriteOut() error {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	for _, seg := range l.dirtySegments() {
		if n := seg.sentBytes - seg.synced.SizeBytes; n > 0 {
			if err := l.sendOut(seg, seg.synced.SizeBytes, n, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Log) sendOut(seg *segment, from, sizeBytes int64, wait bool) error {
	f, err := l.files.acquire(fileKey{l, seg.SegmentName, segmentFile}, true)
	if err != nil {
		return err
	}
	err = f.WriteOut(from, sizeBytes, wait)
	// It stays dirty, so that closing it has nothing to lose.
	_ = f.release()
	if err != nil {
		l.fail(err)
		return l.failure()
	}
	return nil
}

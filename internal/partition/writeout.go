package partition

// WriteOutBacklog returns the size in bytes of the batches that the disk was not asked to store yet: those that are in
// memory only, and those in segments that neither a Sync nor a WriteOut has covered.
func (l *Log) WriteOutBacklog() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	unsent := l.tail.unwrittenBytes
	for i := len(l.segments) - 1; i >= 0 && l.segments[i].notWrittenOut() > 0; i-- {
		unsent += l.segments[i].notWrittenOut()
	}
	return unsent
}

// notWrittenOut returns how many bytes of the segment neither a Sync nor a WriteOut has covered. l.mu or l.io must be
// held.
func (s *segment) notWrittenOut() int64 {
	return s.SizeBytes - max(s.synced.SizeBytes, s.writtenOutBytes)
}

// WriteOut does what Flush does, and then asks the operating system to start writing up to limitBytes of the backlog to
// the disk, oldest first. It returns how many bytes these are. They are not durable before a Sync, which however has
// less to do then. If several logs are written out together, the file system's commit for the first Sync covers the
// others too. An error of the disk fences the log's files, as a failed Sync does.
func (l *Log) WriteOut(limitBytes int64) (int64, error) {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flush(); err != nil {
		return 0, err
	}
	var sentBytes int64
	for _, seg := range l.dirtySegments() {
		// The index is written here, and not only by the later Sync, so that it does not cause a commit of the file
		// system between the syncs of two logs.
		if err := l.writeIndex(seg); err != nil {
			return sentBytes, err
		}
		from, n := seg.SizeBytes-seg.notWrittenOut(), min(seg.notWrittenOut(), limitBytes-sentBytes)
		if n <= 0 {
			continue
		}
		if err := l.sendOut(seg, from, n, false); err != nil {
			return sentBytes, err
		}
		sentBytes += n
		l.mu.Lock()
		seg.writtenOutBytes = from + n
		l.mu.Unlock()
	}
	return sentBytes, nil
}

// AwaitWriteOut blocks until the data that WriteOut has covered is on the disk. Its errors are those of WriteOut.
func (l *Log) AwaitWriteOut() error {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	for _, seg := range l.dirtySegments() {
		if n := seg.writtenOutBytes - seg.synced.SizeBytes; n > 0 {
			if err := l.sendOut(seg, seg.synced.SizeBytes, n, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendOut asks the operating system to write a part of a segment's file to the disk. If wait is true, it blocks until
// that is done. l.io must be held.
func (l *Log) sendOut(seg *segment, from, sizeBytes int64, wait bool) error {
	f, err := l.files.acquire(fileKey{l, seg.SegmentName, segmentFile}, true)
	if err != nil {
		return err
	}
	err = f.WriteOut(from, sizeBytes, wait)
	// The file stays dirty, so that it is synced before it is closed.
	_ = f.release()
	if err != nil {
		l.fail(err)
		return l.failure()
	}
	return nil
}

package engine

// OffsetFor finds a position: Latest is the high watermark, Earliest the log's start, MaxTimestamp the record with the
// largest timestamp, and a time ≥ 0 (ms since the epoch) the first record at or after it. Where there is no such record
// Offset and Timestamp are -1. It may read from disk.
func (e *Engine) OffsetFor(id Partition, timestamp int64) (Listed, error) {
	if !e.begin() {
		return Listed{}, ErrClosed
	}
	defer e.inFlight.Done()
	p, err := e.part(id)
	if err != nil {
		return Listed{}, err
	}
	switch timestamp {
	case Latest:
		return Listed{Offset: p.end(), Timestamp: -1, LeaderEpoch: p.epoch.Load()}, nil
	case Earliest:
		start := p.start()
		return Listed{Offset: start, Timestamp: -1, LeaderEpoch: p.log.EpochAt(start)}, nil
	case MaxTimestamp:
		offset, ts := p.maxTimestamp()
		return p.listed(offset, ts), nil
	}
	offset, ts, ok, err := p.offsetForTime(timestamp)
	if err != nil {
		return Listed{}, e.readError(err)
	}
	if !ok {
		offset, ts = -1, -1
	}
	return p.listed(offset, ts), nil
}

func (p *part) listed(offset, timestamp int64) Listed {
	l := Listed{Offset: offset, Timestamp: timestamp, LeaderEpoch: -1}
	if offset >= 0 {
		l.LeaderEpoch = p.log.EpochAt(offset)
	}
	return l
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch that is at most epoch, and the offset at which it ended
// (the log's end for the current one); -1, -1 if there is none.
func (e *Engine) EpochEnd(id Partition, epoch int32) (int32, int64, error) {
	p, err := e.part(id)
	if err != nil {
		return -1, -1, err
	}
	found, end := p.log.EpochEnd(epoch)
	return found, min(end, p.end()), nil
}

// LeaderEpoch returns the partition's current leader epoch; -1 if there is no such partition. It grows when recovery
// had to cut a torn tail (trap 14).
func (e *Engine) LeaderEpoch(id Partition) int32 {
	p, err := e.part(id)
	if err != nil {
		return -1
	}
	return p.epoch.Load()
}

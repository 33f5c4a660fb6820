package partition

import "sort"

// epochs maps the offsets of a log to leader epochs. It lists the starts of the epochs, strictly ascending by epoch and
// ascending by offset. The list of a log is never empty. It is never changed in place, so that a reader may keep it
// without holding a lock.
type epochs []EpochStart

// with returns a list in which epoch begins at offset. If the last epoch of e begins at the same offset, and so has no
// record, it is left out. If epoch is not later than the last epoch of e, with returns e itself.
func (e epochs) with(epoch int32, offset int64) epochs {
	if len(e) > 0 && epoch <= e.latest() {
		return e
	}
	n := len(e)
	if n > 0 && e[n-1].Offset == offset {
		n--
	}
	return append(append(make(epochs, 0, n+1), e[:n]...), EpochStart{Epoch: epoch, Offset: offset})
}

// latest returns the last epoch of the list, which must not be empty.
func (e epochs) latest() int32 { return e[len(e)-1].Epoch }

// at returns the leader epoch of the record at offset. For an offset before the first start it returns the first epoch.
func (e epochs) at(offset int64) int32 {
	i := sort.Search(len(e), func(i int) bool { return e[i].Offset > offset })
	return e[max(i-1, 0)].Epoch
}

// from returns the list without the epochs that ended at or before offset.
func (e epochs) from(offset int64) epochs {
	i := sort.Search(len(e), func(i int) bool { return e[i].Offset > offset })
	if i <= 1 {
		return e
	}
	return append(epochs(nil), e[i-1:]...)
}

// upTo returns the list without the epochs that begin after end, which is the offset after the log's last record.
func (e epochs) upTo(end int64) epochs {
	return append(epochs(nil), e[:sort.Search(len(e), func(i int) bool { return e[i].Offset > end })]...)
}

// Epoch returns the latest leader epoch.
func (l *Log) Epoch() int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.latest()
}

// EpochAt returns the leader epoch under which the record at offset was appended.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.at(offset)
}

// BumpEpoch begins a new leader epoch at the end of the log. If epoch is not later than the latest one, it does
// nothing, so that the journal may be replayed more than once.
func (l *Log) BumpEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = l.epochs.with(epoch, l.end)
}

// EpochEnd returns the answer to an OffsetForLeaderEpoch request (KIP-320): the largest epoch of the log that is not
// later than epoch, and the offset at which it ended. If epoch is before all known epochs, it returns epoch and the
// start of the first known one. If epoch is negative or later than the latest one, it returns -1, -1.
func (l *Log) EpochEnd(epoch int32) (int32, int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	next := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].Epoch > epoch })
	switch {
	case epoch < 0 || epoch > l.epochs.latest():
		return -1, -1
	case next == len(l.epochs):
		return epoch, l.end
	case next == 0:
		return epoch, max(l.epochs[0].Offset, l.start)
	}
	return l.epochs[next-1].Epoch, max(l.epochs[next].Offset, l.start)
}

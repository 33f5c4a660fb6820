package partition

import "sort"

// epochs says which leader epoch each offset belongs to: ascending in both fields, never empty in a log. It is never
// changed in place, so that a reader may keep what it has seen.
type epochs []EpochStart

// with returns the list with a later epoch that begins at offset. An epoch that got no record is replaced. Epochs
// that aren't later leave the list as it is.
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

func (e epochs) latest() int32 { return e[len(e)-1].Epoch }

// at is the epoch of the record at offset. Before the first start it is the first epoch.
func (e epochs) at(offset int64) int32 {
	i := sort.Search(len(e), func(i int) bool { return e[i].Offset > offset })
	return e[max(i-1, 0)].Epoch
}

// from returns the list for batches from offset on: epochs that ended before it are gone.
func (e epochs) from(offset int64) epochs {
	i := sort.Search(len(e), func(i int) bool { return e[i].Offset > offset })
	if i <= 1 {
		return e
	}
	return append(epochs(nil), e[i-1:]...)
}

// upTo returns the list for a log that ends at end.
func (e epochs) upTo(end int64) epochs {
	return append(epochs(nil), e[:sort.Search(len(e), func(i int) bool { return e[i].Offset > end })]...)
}

// Epoch is the latest leader epoch.
func (l *Log) Epoch() int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.latest()
}

// EpochAt is the leader epoch under which the record at offset was appended.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.at(offset)
}

// BumpEpoch begins a later leader epoch at the end of the log. Others than later ones change nothing, so that a
// journal may be replayed.
func (l *Log) BumpEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = l.epochs.with(epoch, l.end)
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-320): the largest epoch that isn't later than the one asked for, and where
// it ended. An epoch before all known ones ends where the first of them begins; one later than all gives -1, -1.
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

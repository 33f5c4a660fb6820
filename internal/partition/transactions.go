package partition

import (
	"slices"
	"sort"

	"tidings.dev/internal/batch"
)

// OpenTransaction is a transaction of which a log has batches and no marker.
type OpenTransaction struct {
	ProducerID int64
	Epoch      int16 // of its first batch
	First      int64 // offset of its first record
}

// AbortedTransaction is a transaction that a marker in the log has aborted. Readers must be told of each that overlaps what
// they read (trap 9 of docs/kafka-traps.md).
type AbortedTransaction struct {
	ProducerID int64
	First      int64 // offset of its first record
	Last       int64 // offset of the marker
	// Stable is the last stable offset right after the marker. All transactions that end later begin at or above it.
	Stable int64
}

// transactions knows which batches of a log are of which transactions: the open ones, those that were aborted, and, for
// State, those that have ended since the last sync. The zero value is a log without any. The log's mu guards it.
//
// Invariant: open is ordered by First, aborted by Last; a producer has one open transaction at most.
type transactions struct {
	open    []OpenTransaction
	aborted []AbortedTransaction // the elements are never changed
	ended   []endedTransaction   // those that ended at or above the log's syncedEnd
}

// endedTransaction is a transaction with the offset of the marker that has ended it.
type endedTransaction struct {
	OpenTransaction
	last int64
}

// add notes the batch v, which is appended to the log.
func (t *transactions) add(v batch.View) {
	if !v.Transactional() {
		return
	}
	i := slices.IndexFunc(t.open, func(o OpenTransaction) bool { return o.ProducerID == v.ProducerID() })
	if !v.Control() {
		if i < 0 {
			t.open = append(t.open, OpenTransaction{ProducerID: v.ProducerID(), Epoch: v.ProducerEpoch(), First: v.BaseOffset()})
		}
		return
	}
	commit, ok := v.Marker()
	if !ok || i < 0 { // the transaction has no batches in this partition
		return
	}
	o := t.open[i]
	t.open = slices.Delete(t.open, i, i+1)
	t.ended = append(t.ended, endedTransaction{o, v.LastOffset()})
	if !commit {
		t.aborted = append(t.aborted, AbortedTransaction{ProducerID: o.ProducerID, First: o.First, Last: v.LastOffset(), Stable: t.stable(v.NextOffset())})
	}
}

// stable returns the last stable offset of a log that ends at end.
func (t *transactions) stable(end int64) int64 {
	if len(t.open) > 0 {
		return t.open[0].First
	}
	return end
}

// overlapping returns the aborted transactions of which a record or the marker has an offset in [from, to). The caller
// must not change the result.
func (t *transactions) overlapping(from, to int64) (found []AbortedTransaction) {
	i := sort.Search(len(t.aborted), func(i int) bool { return t.aborted[i].Last >= from })
	for ; i < len(t.aborted); i++ {
		a := t.aborted[i]
		if a.First < to {
			found = append(found, a)
		}
		if a.Stable >= to {
			break
		}
	}
	return found
}

// isAborted reports whether v, a batch of a transaction and no marker, belongs to an aborted transaction.
func (t *transactions) isAborted(v batch.View) bool {
	return slices.ContainsFunc(t.overlapping(v.BaseOffset(), v.NextOffset()), func(a AbortedTransaction) bool {
		return a.ProducerID == v.ProducerID()
	})
}

// asOf returns the open and the aborted transactions as they were when the log ended at end, which is at or above the
// offset of the last call of synced.
func (t *transactions) asOf(end int64) (open []OpenTransaction, aborted []AbortedTransaction) {
	for _, o := range t.open {
		if o.First < end {
			open = append(open, o)
		}
	}
	for _, e := range t.ended {
		if e.First < end && e.last >= end {
			open = append(open, e.OpenTransaction)
		}
	}
	slices.SortFunc(open, func(a, b OpenTransaction) int { return int(min(1, max(-1, a.First-b.First))) })
	n := sort.Search(len(t.aborted), func(i int) bool { return t.aborted[i].Last >= end })
	return open, t.aborted[:n:n]
}

// synced forgets what only asOf of an offset below end would need.
func (t *transactions) synced(end int64) {
	t.ended = slices.DeleteFunc(t.ended, func(e endedTransaction) bool { return e.last < end })
	if len(t.ended) == 0 {
		t.ended = nil
	}
}

// deleteBefore forgets the aborted transactions that lie below start with their markers.
func (t *transactions) deleteBefore(start int64) {
	n := sort.Search(len(t.aborted), func(i int) bool { return t.aborted[i].Last >= start })
	if n > 0 {
		t.aborted = slices.Clone(t.aborted[n:]) // a copy, so that the memory of the others is freed
	}
}

// LastStable returns the last stable offset: all transactions with records below it have ended. It is at most End.
func (l *Log) LastStable() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.lastStable()
}

// lastStable does what LastStable does. l.mu must be held.
func (l *Log) lastStable() int64 { return max(l.start, l.transactions.stable(l.end)) }

// OpenTransactions returns the transactions without a marker, in the order of their first offsets. The caller owns the
// slice.
func (l *Log) OpenTransactions() []OpenTransaction {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.transactions.open)
}

// Committed is what a reader must know of the batches that ReadCommitted returns.
type Committed struct {
	Stable int64 // the last stable offset when they were read
	// Aborted has every aborted transaction that overlaps the batches, in the order of their markers. The reader leaves
	// out the batches of each, from its first offset to its marker. It must not be changed.
	Aborted []AbortedTransaction
}

// ReadCommitted does what Read does, or what ReadStored does if orStored is true, but returns no batch at or above the
// last stable offset. If offset is at or above it, nothing is appended.
func (l *Log) ReadCommitted(dst [][]byte, offset int64, maxBytes int, orStored bool) (_ [][]byte, stored Stored, c Committed, err error) {
	l.mu.RLock()
	c.Stable = l.lastStable()
	beyond := offset >= c.Stable && offset >= l.start && offset <= l.end
	l.mu.RUnlock()
	if beyond {
		return dst, Stored{}, c, nil
	}
	next := int64(0)
	if orStored {
		stored = l.stored(offset, maxBytes, c.Stable)
		next = stored.end
	}
	if stored.sizeBytes == 0 {
		had := len(dst)
		r := readOp{log: l, dst: dst, offset: offset, maxBytes: maxBytes, canSend: orStored}
		err = r.runAndReadAhead()
		var kept [][]byte
		kept, next = cutAt(r.dst[had:], c.Stable)
		dst = r.dst[:had+len(kept)]
	}
	if err == nil && next > offset {
		l.mu.RLock()
		c.Aborted = l.transactions.overlapping(offset, next)
		l.mu.RUnlock()
	}
	return dst, stored, c, err
}

// cutAt returns the batches of pieces that begin below offset, and the offset after the last of them, which is 0 if there is
// none. pieces are in order, and each is one or more whole batches.
func cutAt(pieces [][]byte, offset int64) (kept [][]byte, next int64) {
	for i := len(pieces) - 1; i >= 0; i-- {
		if batch.View(pieces[i]).BaseOffset() >= offset {
			pieces[i] = nil
			continue
		}
		for at := 0; at < len(pieces[i]); {
			v := batch.View(pieces[i][at:])
			if v.BaseOffset() >= offset {
				pieces[i] = pieces[i][:at:at]
				break
			}
			n, _ := batch.Length(v)
			at, next = at+n, v.NextOffset()
		}
		return pieces[:i+1], next
	}
	return nil, 0
}

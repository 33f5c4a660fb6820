package partition

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// endTransaction appends a marker, whether or not its producer has a transaction in the log.
func (m *model) endTransaction(t *rapid.T) {
	v := batch.View(batch.AppendMarker(nil, rapid.Int64Range(1, 4).Draw(t, "producer"), 0, rapid.Bool().Draw(t, "commit"), 5))
	v.SetBaseOffset(int64(len(m.records)))
	v.SetLeaderEpoch(m.epoch)
	m.log.Append(v)
	m.records = append(m.records, modelRecord{5, v, m.epoch})
}

// transactions returns the open and the aborted transactions of the first n records, by looking at all of them.
func (m *model) transactions(n int64) (open []OpenTransaction, aborted []AbortedTransaction) {
	for _, r := range m.records[:n] {
		v := r.batch
		i := slices.IndexFunc(open, func(o OpenTransaction) bool { return o.ProducerID == v.ProducerID() })
		switch {
		case v.Transactional() && !v.Control() && i < 0:
			open = append(open, OpenTransaction{ProducerID: v.ProducerID(), First: v.BaseOffset()})
		case v.Control() && i >= 0:
			first := open[i].First
			open = slices.Delete(open, i, i+1)
			stable := v.NextOffset()
			if len(open) > 0 {
				stable = open[0].First
			}
			if commit, _ := v.Marker(); !commit && v.LastOffset() >= m.start {
				aborted = append(aborted, AbortedTransaction{v.ProducerID(), first, v.LastOffset(), stable})
			}
		}
	}
	return open, aborted
}

// compareTransactions is what must hold of transactions after every step.
func (m *model) compareTransactions(t *rapid.T) {
	open, _ := m.transactions(int64(len(m.records)))
	stable := int64(len(m.records))
	if len(open) > 0 {
		stable = max(open[0].First, m.start)
	}
	if got := m.log.LastStable(); got != stable || !slices.Equal(m.log.OpenTransactions(), open) {
		t.Fatalf("stable below %d with %v, want %d with %v", got, m.log.OpenTransactions(), stable, open)
	}
	for _, e := range m.log.transactions.ended {
		if e.last < m.log.syncedEnd {
			t.Fatalf("%+v is kept, the log is synced to %d", e, m.log.syncedEnd)
		}
	}
	s := m.log.State()
	open, aborted := m.transactions(s.End)
	if !slices.Equal(s.Open, open) || !slices.Equal(s.Aborted, aborted) {
		t.Fatalf("the state at %d has %v and %v, want %v and %v", s.End, s.Open, s.Aborted, open, aborted)
	}
}

// readCommitted reads all there is as a consumer that wants committed records only.
func (m *model) readCommitted(t *rapid.T) {
	maxBytes := rapid.IntRange(100, 4000).Draw(t, "max")
	orStored := rapid.Bool().Draw(t, "stored")
	stable := m.log.LastStable()
	_, aborted := m.transactions(int64(len(m.records)))
	for offset := m.start; ; {
		pieces, stored, c, err := m.log.ReadCommitted(nil, offset, maxBytes, orStored)
		m.must(t, err)
		if c.Stable != stable {
			t.Fatalf("stable below %d, want %d", c.Stable, stable)
		}
		exact := stored.SizeBytes() == 0
		if !exact {
			open, ok := stored.Open()
			if !ok {
				t.Fatal("what was to be sent cannot be opened")
			}
			piece := make([]byte, open.SizeBytes())
			_, err := open.file.ReadAt(piece, open.position)
			m.must(t, err)
			open.Close()
			pieces = [][]byte{piece}
		}
		if len(pieces) == 0 {
			if offset < stable {
				t.Fatalf("nothing at %d, stable below %d", offset, stable)
			}
			return
		}
		next := m.expect(t, pieces, offset, maxBytes)
		if next > stable {
			t.Fatalf("read [%d, %d), stable below %d", offset, next, stable)
		}
		for _, a := range aborted {
			overlaps := a.Last >= offset && a.First < next
			if has := slices.Contains(c.Aborted, a); has != overlaps && (exact || !has) {
				t.Fatalf("[%d, %d) has the aborted transactions %v; of all %v", offset, next, c.Aborted, aborted)
			}
		}
		for _, a := range c.Aborted {
			if !slices.Contains(aborted, a) {
				t.Fatalf("%v was not aborted; these were: %v", a, aborted)
			}
		}
		offset = next
	}
}

// reconstruct derives the state from files alone. What retention has removed the beginnings of cannot be compared.
func (m *model) reconstruct(t *rapid.T) {
	if m.start > 0 {
		return
	}
	m.must(t, m.log.Sync())
	got, err := Reconstruct(m.disk, "p", func(batch.View) {})
	m.must(t, err)
	open, aborted := m.transactions(got.State.End)
	if !slices.Equal(got.State.Open, open) || !slices.Equal(got.State.Aborted, aborted) {
		t.Fatalf("the files to %d have %v and %v, want %v and %v", got.State.End, got.State.Open, got.State.Aborted, open, aborted)
	}
}

// Case: an aborted transaction that began many segments ago is named by every read that it overlaps, and by no
// other; and a control record of another kind ends nothing.
func TestAbortedTransactionOverSegments(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", Config{SegmentBytes: 300})
	check(t, err)
	add := func(producer int64) {
		var b batch.Builder
		b.Reset(l.End())
		b.Producer(producer, 0, 0)
		b.Transactional(false)
		b.Add(1, []byte("k"), make([]byte, 100))
		l.Append(b.Batch())
	}
	mark := func(producer int64, commit bool) {
		v := batch.View(batch.AppendMarker(nil, producer, 0, commit, 1))
		v.SetBaseOffset(l.End())
		l.Append(v)
	}
	add(1) // 0
	add(2) // 1
	for range 20 {
		add(3)
		mark(3, true)
	}
	mark(1, false) // 42
	add(4)         // 43
	var other batch.Builder
	other.Reset(l.End())
	other.Producer(2, 0, -1)
	other.Transactional(true)
	other.Add(1, []byte("\x00\x00\x00\x02"), nil)
	l.Append(other.Batch()) // 44
	if got := l.LastStable(); got != 1 {
		t.Fatalf("stable below %d", got)
	}
	mark(2, true) // 45
	mark(4, false)
	check(t, l.Sync())
	if n := len(l.State().Segments); n < 10 {
		t.Fatalf("%d segments", n)
	}
	first, last := AbortedTransaction{1, 0, 42, 1}, AbortedTransaction{4, 43, 46, 47}
	for offset := int64(0); offset < l.End(); {
		pieces, _, c, err := l.ReadCommitted(nil, offset, 1, false)
		check(t, err)
		var want []AbortedTransaction
		if offset <= 42 {
			want = append(want, first)
		}
		if offset >= 43 {
			want = append(want, last)
		}
		if !slices.Equal(c.Aborted, want) || c.Stable != 47 {
			t.Errorf("at %d: %+v, want %v", offset, c, want)
		}
		offset = batch.View(pieces[0]).NextOffset()
	}
	// Case: what is deleted is forgotten, as soon as its marker is.
	for start, want := range map[int64]int{42: 2, 43: 1, 47: 0} {
		again, err := Open(vfs.NewMem(), "q", Config{}, State{End: 47, Aborted: []AbortedTransaction{first, last}})
		check(t, err)
		check(t, again.DeleteBefore(start))
		if _, aborted := again.transactions.asOf(47); len(aborted) != want {
			t.Errorf("%d are left below %d", len(aborted), start)
		}
	}
}

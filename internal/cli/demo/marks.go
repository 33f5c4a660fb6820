package demo

import "tidings.dev/internal/obligation"

// marks is what one reaction has recorded about the events of the shop's topic.
type marks struct {
	done, unhandled, skipped, retried, duplicates eventSet

	originals  map[int32]map[int64]int64 // by partition and offset of a copy, the offset of its original
	doneBefore map[int32]int64           // by partition, an offset below which caughtUp has nothing to check any more
}

// eventSet is a set of records, by partition and offset.
type eventSet map[int32]map[int64]bool

func newMarks() *marks {
	return &marks{
		done: eventSet{}, unhandled: eventSet{}, skipped: eventSet{}, retried: eventSet{}, duplicates: eventSet{},
		originals: map[int32]map[int64]int64{}, doneBefore: map[int32]int64{},
	}
}

func (m *marks) add(f *obligation.Marks) {
	for _, r := range f.Done {
		for offset := r.Lo; offset < r.Hi; offset++ {
			m.done.add(f.Partition, offset)
		}
	}
	for _, r := range f.Unhandled {
		for offset := r.Lo; offset < r.Hi; offset++ {
			m.unhandled.add(f.Partition, offset)
		}
	}
	for _, s := range f.Skipped {
		m.skipped.add(f.Partition, s.Offset)
	}
	for _, r := range f.Retried {
		m.retried.add(f.Partition, r.Offset)
	}
	for _, offset := range f.Duplicates {
		m.duplicates.add(f.Partition, offset)
	}
	for _, c := range f.Copies {
		m.duplicates.add(f.Partition, c.Offset)
		if m.originals[f.Partition] == nil {
			m.originals[f.Partition] = map[int64]int64{}
		}
		m.originals[f.Partition][c.Offset] = c.Of
	}
}

// isDone reports whether a record needs no further handling: the record is done, or it is a copy and its original is
// done.
func (m *marks) isDone(partition int32, offset int64) bool {
	original, isCopy := m.originals[partition][offset]
	return m.done.has(partition, offset) || isCopy && m.done.has(partition, original)
}

// handled reports whether a handler has run for an event successfully.
func (m *marks) handled(partition int32, offset int64) bool {
	return m.done.has(partition, offset) && !m.unhandled.has(partition, offset) && !m.skipped.has(partition, offset) && !m.duplicates.has(partition, offset)
}

func (s eventSet) add(partition int32, offset int64) {
	if s[partition] == nil {
		s[partition] = map[int64]bool{}
	}
	s[partition][offset] = true
}

func (s eventSet) has(partition int32, offset int64) bool { return s[partition][offset] }

func (s eventSet) size() (n int64) {
	for _, offsets := range s {
		n += int64(len(offsets))
	}
	return n
}

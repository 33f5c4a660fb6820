package obligation

import (
	"fmt"
	"maps"
	"slices"

	"tidings.dev/internal/offsets"
)

// Move is a change of where a reaction stands in one partition, and of what is done there.
type Move struct {
	From int64 // where the reaction goes on now: all below is done
	To   int64 // where it is to go on
	// Exact means that nothing changes but Again and Jump, wherever they are. Otherwise all from To on becomes open if To is below
	// From, and else all below To becomes done.
	Exact bool
	Again offsets.Set // done, and to be handled again; none is below To
	Jump  offsets.Set // not done, and to be jumped
}

// Move returns what the command, a seek, changes in an account of its partition, when the reaction stands at a position. If it
// changes nothing, stale says why.
func (c *Command) Move(a *Account, position int64) (m Move, stale string) {
	m = Move{From: position, To: position, Exact: true}
	switch {
	case c.Epoch != a.Epoch():
		return m, fmt.Sprintf("the position was moved since, by %s", a.Seek.by())
	case len(c.Again) > 0:
		m.Again = offsets.SetOf(slices.Clone(c.Again)...)
		m.To = min(position, c.Again[0].Lo)
		return m, ""
	case c.To > c.Position:
		if m.To, m.Exact = c.To, false; position < c.To {
			return m, ""
		}
	default:
		done := a.Done.Clone()
		done.Add(0, position)
		for _, r := range c.Jump {
			for lo, hi := range done.Gaps(r.Lo, r.Hi) {
				m.Jump.Add(lo, hi)
			}
		}
		if !m.Jump.Empty() {
			return m, ""
		}
	}
	return m, "all that was to be jumped was handled meanwhile"
}

// by returns who has moved a position; s may be nil.
func (s *Seek) by() string {
	if s == nil || s.Who == "" {
		return "somebody"
	}
	return s.Who
}

// Facts returns what is to be recorded of a move, in order: the seek, which is s with From, To and Epoch set, and if the move is
// exact, the marks by which all else stays as it was. The error is a *TooManyJumped. The account is not changed.
func (a *Account) Facts(m Move, s Seek) ([]Fact, error) {
	s.From, s.To, s.Epoch = m.From, m.To, a.Epoch()+1
	if !m.Exact {
		return []Fact{&s}, nil
	}
	if !m.Again.Empty() {
		s.From = max(s.From, a.End()) // so that it goes back, also if what is done again is ahead of the position
	}
	marks, err := a.remark(m, &s)
	if err != nil {
		return nil, err
	}
	facts := []Fact{&s}
	if len(marks.Done)+len(marks.Copies) > 0 {
		for _, part := range marks.Split(MaxMarks) {
			facts = append(facts, part)
		}
	}
	return facts, nil
}

// maxJumped is how many events that a seek has jumped are marked again one by one.
const maxJumped = 100_000

// TooManyJumped is the error of a move of single events behind which so many lie that an earlier seek has jumped, that they
// cannot be kept apart from those that were handled.
type TooManyJumped struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (e *TooManyJumped) Error() string {
	return fmt.Sprintf("more than %d events that were jumped lie behind %s/%d@%d: they cannot be kept apart", maxJumped, e.Topic, e.Partition, e.Offset)
}

// remark returns the marks that, after a seek, make everything done that was, but m.Again, and m.Jump.
func (a *Account) remark(m Move, s *Seek) (*Marks, error) {
	copies := offsets.Set{}
	marks := &Marks{Reaction: s.Reaction, Topic: s.Topic, TopicID: s.TopicID, Partition: s.Partition, Epoch: s.Epoch, Position: s.To}
	for _, o := range slices.Sorted(maps.Keys(a.Copies)) {
		if o >= m.To && !m.Again.Contains(o) {
			marks.Copies = append(marks.Copies, Copy{Offset: o, Of: a.Copies[o]})
			copies.Add(o, o+1)
		}
	}
	done := a.Done.Clone()
	done.Add(m.To, m.From) // what is below a position is done
	for _, r := range from(&done, m.To) {
		for lo, hi := range m.Again.Gaps(r.Lo, r.Hi) {
			for lo, hi := range copies.Gaps(lo, hi) {
				marks.Done = append(marks.Done, offsets.Range{Lo: lo, Hi: hi})
			}
		}
	}
	for _, r := range from(&a.Unhandled, m.To) {
		for lo, hi := range m.Again.Gaps(r.Lo, r.Hi) {
			marks.Unhandled = append(marks.Unhandled, offsets.Range{Lo: lo, Hi: hi})
		}
	}
	reasons := make(map[int64]string)
	for _, r := range from(&a.Jumped, m.To) {
		for lo, hi := range m.Again.Gaps(r.Lo, r.Hi) {
			for o := lo; o < hi; o++ {
				if reasons[o] = "a seek jumped over it"; len(reasons) > maxJumped {
					return nil, &TooManyJumped{s.Topic, s.Partition, m.To}
				}
			}
		}
	}
	for o, reason := range a.Skipped {
		if o >= m.To && !m.Again.Contains(o) {
			reasons[o] = reason
		}
	}
	for _, r := range m.Jump.Ranges() {
		marks.Done = append(marks.Done, r)
		for o := r.Lo; o < r.Hi; o++ {
			reasons[o] = "jumped by " + s.by()
		}
	}
	for _, o := range slices.Sorted(maps.Keys(reasons)) {
		marks.Skipped = append(marks.Skipped, Skipped{Offset: o, Reason: reasons[o]})
	}
	return marks, nil
}

// from returns the ranges of a set at and above an offset.
func from(set *offsets.Set, lo int64) []offsets.Range {
	upper := set.Clone()
	cut := upper.CutFrom(lo)
	return cut.Ranges()
}

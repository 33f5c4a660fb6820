package obligation

import (
	"maps"

	"tidings.dev/internal/offsets"
)

// Account is what a reaction has done in one partition, by the records of ReactionsTopic that were added to it in the order of
// the log. docs/format/obligations.md has the rules.
type Account struct {
	Seek      *Seek            // the newest seek; nil if there is none
	Done      offsets.Set      // offsets that were handled, skipped or passed over, including copies
	Unhandled offsets.Set      // offsets in Done whose events the reaction has no handler for
	Jumped    offsets.Set      // offsets that a seek jumped over
	Skipped   map[int64]string // the reasons of events that were skipped one by one
	Copies    map[int64]int64  // by the offset of a copy, the offset of its original
	Retrying  map[int64]*Retrying
	Running   map[int64]*Running // without events whose attempt has failed since
}

// NewAccount returns an account to which nothing was added.
func NewAccount() *Account {
	return &Account{Skipped: make(map[int64]string), Copies: make(map[int64]int64), Retrying: make(map[int64]*Retrying), Running: make(map[int64]*Running)}
}

// Clone returns a copy that shares no memory with a, but for the facts.
func (a *Account) Clone() *Account {
	return &Account{Seek: a.Seek, Done: a.Done.Clone(), Unhandled: a.Unhandled.Clone(), Jumped: a.Jumped.Clone(), Skipped: maps.Clone(a.Skipped),
		Copies: maps.Clone(a.Copies), Retrying: maps.Clone(a.Retrying), Running: maps.Clone(a.Running)}
}

// Add takes in a fact about the partition. Facts of other kinds than Marks, Seek, Retrying and Running are ignored.
func (a *Account) Add(f Fact) {
	switch f := f.(type) {
	case *Marks:
		a.mark(f)
	case *Seek:
		a.move(f)
	case *Retrying:
		a.Retrying[f.Offset] = f
		delete(a.Running, f.Offset)
	case *Running:
		a.Running[f.Offset] = f
	}
}

// mark adds marks. It ignores them if their writer did not know of the newest seek.
func (a *Account) mark(m *Marks) {
	if a.Seek != nil && m.Epoch < a.Seek.Epoch {
		return
	}
	for _, r := range m.Done {
		a.Done.Add(r.Lo, r.Hi)
	}
	for _, r := range m.Unhandled {
		a.Unhandled.Add(r.Lo, r.Hi)
	}
	for _, s := range m.Skipped {
		a.Skipped[s.Offset] = s.Reason
	}
	for _, c := range m.Copies {
		a.Copies[c.Offset] = c.Of
		a.Done.Add(c.Offset, c.Offset+1)
	}
	a.forgetDone()
}

// move applies a seek by the rules of docs/format/obligations.md.
func (a *Account) move(s *Seek) {
	if !s.Follows(a.Epoch()) {
		return
	}
	a.Seek = s
	if s.Back() {
		for _, set := range []*offsets.Set{&a.Done, &a.Unhandled, &a.Jumped} {
			set.CutFrom(s.To)
		}
		maps.DeleteFunc(a.Skipped, func(o int64, _ string) bool { return o >= s.To })
		maps.DeleteFunc(a.Copies, func(o, _ int64) bool { return o >= s.To })
		return
	}
	for lo, hi := range a.Done.Gaps(s.From, s.To) {
		a.Jumped.Add(lo, hi)
	}
	a.Done.Add(s.From, s.To)
	a.forgetDone()
}

// forgetDone deletes the entries of Retrying and Running whose events are done.
func (a *Account) forgetDone() {
	for o := range a.Retrying {
		if a.Done.Contains(o) {
			delete(a.Retrying, o)
		}
	}
	for o := range a.Running {
		if a.Done.Contains(o) {
			delete(a.Running, o)
		}
	}
}

// Epoch returns the epoch of the newest seek, or 0 if there is none.
func (a *Account) Epoch() int64 {
	if a.Seek == nil {
		return 0
	}
	return a.Seek.Epoch
}

// Open returns the number of offsets in [lo, hi) that are not done.
func (a *Account) Open(lo, hi int64) (n int64) {
	for from, to := range a.Done.Gaps(lo, hi) {
		n += to - from
	}
	return n
}

// End returns the offset after the last one that is done; 0 if nothing is.
func (a *Account) End() int64 {
	if ranges := a.Done.Ranges(); len(ranges) > 0 {
		return ranges[len(ranges)-1].Hi
	}
	return 0
}

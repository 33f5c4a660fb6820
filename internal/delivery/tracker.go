package delivery

import "tidings.dev/internal/obligation"

// Tracker knows which offsets of one partition are done. Everything below Position is; what is done above it is done
// ahead. Every arrived offset is finished once. It is not safe for concurrent use.
type Tracker struct {
	position int64   // the first offset that is not done
	next     int64   // the first offset that has not arrived
	ahead    Offsets // done at or above position
	fresh    Offsets // done since the last Take
	open     int     // arrived and not done
}

// NewTracker begins at a committed position with what was done ahead of it.
func NewTracker(position int64, ahead Offsets) *Tracker {
	t := &Tracker{position: position, next: position, ahead: ahead}
	t.position = t.ahead.PassFrom(position)
	return t
}

// Arrival is what an arrived offset is.
type Arrival int

const (
	ArrivedNew   Arrival = iota // to be finished
	ArrivedDone                 // was done before
	ArrivedAgain                // arrived before: to be ignored
)

// Arrive takes in the next offset of the partition. Offsets that were passed over hold no record for us (compacted,
// aborted, control) and are done.
func (t *Tracker) Arrive(offset int64) Arrival {
	if offset < t.next {
		return ArrivedAgain
	}
	if offset > t.next {
		t.done(t.next, offset)
	}
	t.next = offset + 1
	if offset < t.position || t.ahead.Has(offset) {
		return ArrivedDone
	}
	t.open++
	return ArrivedNew
}

// Finish says that an arrived offset is done.
func (t *Tracker) Finish(offset int64) {
	t.open--
	t.done(offset, offset+1)
}

func (t *Tracker) done(lo, hi int64) {
	t.fresh.Add(lo, hi)
	if lo = max(lo, t.position); lo < hi {
		t.ahead.Add(lo, hi)
		t.position = t.ahead.PassFrom(t.position)
	}
}

// Next is the offset that is expected to arrive next: all below it have arrived.
func (t *Tracker) Next() int64 { return t.next }

// Position is the first offset that is not done: what to commit.
func (t *Tracker) Position() int64 { return t.position }

// Ahead is what is done above Position. It is the tracker's: valid until the next call.
func (t *Tracker) Ahead() *Offsets { return &t.ahead }

// Open is the number of offsets that have arrived and are not done.
func (t *Tracker) Open() int { return t.open }

// Dirty tells whether Take has something to give.
func (t *Tracker) Dirty() bool { return !t.fresh.Empty() }

// Take gives what was done since the last Take. The slice is the caller's.
func (t *Tracker) Take() []obligation.Range {
	r := t.fresh.ranges
	t.fresh = Offsets{}
	return r
}

// Untake returns what Take gave and could not be used.
func (t *Tracker) Untake(ranges []obligation.Range) {
	for _, r := range ranges {
		t.fresh.Add(r.Lo, r.Hi)
	}
}

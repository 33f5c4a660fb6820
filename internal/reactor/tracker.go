package reactor

import "tidings.dev/internal/offsets"

// tracker keeps track of which offsets of one partition are done. An offset is done when the reaction need not do
// anything about it any more: its event was handled, skipped or dropped, or there is no event for the reaction at the
// offset. It is not safe for concurrent use.
//
// Invariants:
//   - 0 <= position, and every offset below position is done;
//   - position is not done, and ahead has exactly the offsets above position that are done;
//   - every offset below next has arrived; those of them that are not done are open in number;
//   - position <= next, unless what was done before the partition was assigned reaches beyond next;
//   - fresh has the offsets that became done since the last take, each once.
type tracker struct {
	position int64       // the lowest offset that is not done; to be committed
	next     int64       // the lowest offset that has not arrived
	ahead    offsets.Set // offsets above position that are done
	fresh    offsets.Set // offsets that became done since the last take
	withheld offsets.Set // offsets that have arrived and wait for a release
	passing  offsets.Set // offsets that were withheld and whose release has begun
	open     int         // number of offsets that have arrived and are not done, withheld or passing
}

// newTracker returns a tracker of a partition. position is the committed position, and ahead has the offsets above it
// that are done; the tracker owns ahead from then on.
func newTracker(position int64, ahead offsets.Set) *tracker {
	t := &tracker{position: position, next: position, ahead: ahead}
	t.position = t.ahead.AdvancePast(position)
	return t
}

// arrival is the state of an offset when it arrives.
type arrival int

const (
	arrivedNew   arrival = iota // not done: finish or finishCopy must be called for it once, or withhold
	arrivedDone                 // done in an earlier incarnation
	arrivedAgain                // has arrived before; must be ignored
)

// arrive records that an offset has arrived. The offsets between the last one that arrived and this one have no record
// for the reaction, because of compaction or an aborted transaction, and become done.
func (t *tracker) arrive(offset int64) arrival {
	if offset < t.next {
		return arrivedAgain
	}
	if offset > t.next {
		t.done(t.next, offset)
	}
	t.next = offset + 1
	if t.isDone(offset) {
		return arrivedDone
	}
	t.open++
	return arrivedNew
}

// isDone reports whether an offset is done.
func (t *tracker) isDone(offset int64) bool { return offset < t.position || t.ahead.Contains(offset) }

// finish makes an offset done for which arrive returned arrivedNew.
func (t *tracker) finish(offset int64) {
	t.open--
	t.done(offset, offset+1)
}

// finishCopy makes the offset of a copy done for which arrive returned arrivedNew. Unlike finish, it does not make
// take return the offset: a copy is marked separately.
func (t *tracker) finishCopy(offset int64) {
	t.open--
	t.pass(offset, offset+1)
}

// withhold sets an offset aside for which arrive returned arrivedNew. It is not done until beginRelease and endRelease
// are called.
func (t *tracker) withhold(offset int64) {
	t.open--
	t.withheld.Add(offset, offset+1)
}

// beginRelease makes the withheld offsets passing.
func (t *tracker) beginRelease() {
	for _, r := range t.withheld.Ranges() {
		t.passing.Add(r.Lo, r.Hi)
	}
	t.withheld = offsets.Set{}
}

// endRelease makes the passing offsets done and returns them.
func (t *tracker) endRelease() []offsets.Range {
	ranges := t.passing.Ranges()
	t.passing = offsets.Set{}
	for _, r := range ranges {
		t.done(r.Lo, r.Hi)
	}
	return ranges
}

// done makes the offsets in [lo, hi) done.
func (t *tracker) done(lo, hi int64) {
	t.fresh.Add(lo, hi)
	t.pass(lo, hi)
}

// pass adds [lo, hi) to ahead, and moves the position over all done offsets that follow it.
func (t *tracker) pass(lo, hi int64) {
	if lo = max(lo, t.position); lo < hi {
		t.ahead.Add(lo, hi)
		t.position = t.ahead.AdvancePast(t.position)
	}
}

// dirty reports whether take has something to return.
func (t *tracker) dirty() bool { return !t.fresh.Empty() }

// take returns the offsets that became done since the last take. The caller owns the slice.
func (t *tracker) take() []offsets.Range {
	r := t.fresh.Ranges()
	t.fresh = offsets.Set{}
	return r
}

// untake makes the next take return ranges again, which a take returned and which could not be written.
func (t *tracker) untake(ranges []offsets.Range) {
	for _, r := range ranges {
		t.fresh.Add(r.Lo, r.Hi)
	}
}

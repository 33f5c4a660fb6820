package reactor

import (
	"hash/maphash"
	"time"

	"tidings.dev/internal/cloudevent"
)

// item is an event that a handler must be run for, in one incarnation of its partition. It belongs to the scheduler.
// While it is given out to a worker, the worker may read event, handler, failures and fold, and owns result.
type item struct {
	event       cloudevent.Event
	handler     *Handler
	partition   *partition
	lane        laneKey
	state       itemState
	turn        *turn     // that it was given out in last; nil before
	foldOnly    bool      // the event is done, and is only to be folded when its turn comes
	folded      bool      // a run effect has asked for the event to be folded
	fold        bool      // the event is to be folded before its handler is called; cleared by whoever folds it
	result      any       // result of the handler's Fold; nil before
	bytes       int64     // memory that is charged for it; 0 if none is
	failures    int       // attempts that have failed, including those in earlier incarnations
	firstFailed time.Time // when the first failed attempt ended
	lastError   string    // text of the last attempt's error
}

// turn is what one worker is given at a time: one or more items, whose handlers it calls one after the other. It counts
// as one of the workers while atWork is set.
type turn struct{ atWork bool }

// itemState says where an item is. A held item becomes queued or gone, a queued item becomes out. An item that is out
// becomes waiting, or gone when its attempt ends and needs no repetition, or queued again if its handler was not called
// yet. A waiting item becomes queued again. If the partition is lost, an item becomes gone at once, or, if it is out,
// when its attempt ends or when it is returned.
type itemState int

const (
	itemHeld    itemState = iota // in its partition's list of held items, behind the gate
	itemQueued                   // in its lane
	itemOut                      // first of its lane: its handler runs or is about to, or its emissions are not durable yet
	itemWaiting                  // first of its lane: its next attempt is not due yet
	itemGone                     // in no list any more
)

// laneKey names a lane. The lane of an event with a subject has all events of that subject, whatever their topic. An
// event without a subject has a lane of its own, named by its place in the log.
type laneKey struct {
	subject string
	place   topicPartition
	offset  int64
}

// laneSeed makes the hashes of laneKeys differ between processes: senders choose subjects.
var laneSeed = maphash.MakeSeed()

// hash returns a hash of the key.
func (k laneKey) hash() uint64 {
	if k.subject != "" {
		return maphash.String(laneSeed, k.subject)
	}
	return maphash.Comparable(laneSeed, k)
}

// newItem returns an item for a record. It is in no lane or list yet.
func (s *scheduler) newItem(p *partition, r *record) *item {
	it := s.unusedItem()
	it.event, it.handler, it.partition, it.lane = r.Event, r.handler, p, laneKey{subject: r.Subject}
	it.event.Derivation = p.derivation(r.Offset)
	known := p.failing.of(r.Offset)
	it.failures, it.firstFailed = known.Attempts, known.First
	if r.Subject == "" {
		it.lane = laneKey{place: p.topicPartition, offset: r.Offset}
	}
	return it
}

// maxSpareItems is the number of items that are kept to be used again.
const maxSpareItems = 1024

// unusedItem returns a zero item.
func (s *scheduler) unusedItem() *item {
	n := len(s.spareItems)
	if n == 0 {
		return new(item)
	}
	it := s.spareItems[n-1]
	s.spareItems = s.spareItems[:n-1]
	return it
}

// reuse makes an item one to be used again. It must be gone, and no timer may have it. A worker may still have it, which has
// done what it has to do about it; it can tell by the item's turn.
func (s *scheduler) reuse(it *item) {
	if len(s.spareItems) < maxSpareItems {
		*it = item{}
		s.spareItems = append(s.spareItems, it)
	}
}

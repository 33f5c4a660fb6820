package reactor

import (
	"time"

	"tidings.dev/internal/cloudevent"
)

// item is an event that a handler must be run for, in one incarnation of its partition. It belongs to the scheduler.
// While it is given out to a worker, the worker may read event, handler and failures, and owns fold.
type item struct {
	event       cloudevent.Event
	handler     *Handler
	partition   *partition
	lane        laneKey
	state       itemState
	atWork      bool      // it counts as one of the workers
	foldOnly    bool      // the event is done, and is only to be folded when its turn comes
	folded      bool      // a run effect has asked for the event to be folded
	fold        any       // result of the handler's Fold; nil before
	bytes       int64     // memory that is charged for it; 0 if none is
	failures    int       // attempts that have failed, including those in earlier incarnations
	firstFailed time.Time // when the first failed attempt ended
	lastError   string    // text of the last attempt's error
}

// itemState says where an item is. A held item becomes queued or gone, a queued item becomes out. An item that is out
// becomes waiting, or gone when its attempt ends and needs no repetition. A waiting item becomes queued again. If the
// partition is lost, an item becomes gone at once, or, if it is out, when its attempt ends.
type itemState int

const (
	itemHeld    itemState = iota // in its partition's list of held items, behind the gate
	itemQueued                   // in its lane
	itemOut                      // first of its lane: its handler runs, or its emissions are not durable yet
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

// newItem returns a new item for a record. It is in no lane or list yet.
func newItem(p *partition, r *record) *item {
	it := &item{event: r.Event, handler: r.handler, partition: p, lane: laneKey{subject: r.Subject}}
	it.event.Derivation = p.derivation(r.Offset)
	known := p.failing.of(r.Offset)
	it.failures, it.firstFailed = known.Attempts, known.First
	if r.Subject == "" {
		it.lane = laneKey{place: p.topicPartition, offset: r.Offset}
	}
	return it
}

package settled

import (
	"slices"
	"time"

	"tidings.dev/internal/obligation"
)

// Event is what a receipt knows of its event.
type Event struct {
	Correlation string
	Topic       string
	TopicID     obligation.TopicID // zero if it is not known: the event may be in any topic of that name
	Partition   int32
	Offset      int64
	Emitted     time.Time // when the emission began, by the clock of this process
	Losses      int       // what logclient.Client.Losses returned when the event was acknowledged
}

// maxRecent is the number of facts that a Board keeps, the newest ones. A program may begin to wait for an event some
// time after it has emitted the event, when the fact that ends the wait has already been read.
const maxRecent = 1 << 14

// Board matches the settled and reopened facts of tidings.story with the receipts that wait for them. It keeps the
// newest facts that were read, and the waits that no fact has ended. It has no lock and no clock; all times come from
// the clock of the process. NewBoard makes a Board.
//
// Invariants: every wait in waiting is open. recent[c] is the newest fact of correlation c that was read and not
// dropped; for a story.reopened it is a Settled that covers nothing. Every fact about events that were emitted after since is in recent, or was followed by a newer fact of its
// correlation, or is yet to be read.
type Board struct {
	recent  map[string]*obligation.Settled // by correlation
	order   []reading                      // the facts that were put into recent, oldest first; at most maxRecent
	since   time.Time
	waiting map[string][]*Wait // by correlation
}

// reading is one fact that was read.
type reading struct {
	fact *obligation.Settled
	at   time.Time // when the fact was read
}

// Wait is one receipt that waits for its event's story to settle.
type Wait struct {
	event   Event
	settled chan struct{}
	// answered reports whether the fact that ends the wait is yet to be read from tidings.story, so that the indexer need
	// not be asked: the fact was not written before this process began to read the topic.
	answered bool
}

// Settled returns a channel that is closed once a fact was read which says that the event's story has settled, and
// which covers the event.
func (w *Wait) Settled() <-chan struct{} { return w.settled }

// NewBoard returns an empty board. The facts that it is given must be read from an offset on that was the end of the
// topic at some time before since.
func NewBoard(since time.Time) *Board {
	return &Board{recent: make(map[string]*obligation.Settled), waiting: make(map[string][]*Wait), since: since}
}

// Add returns a wait for e. If a fact that was read covers e, the wait has ended already. The caller must call Remove
// when it stops waiting.
func (b *Board) Add(e Event) *Wait {
	w := &Wait{event: e, settled: make(chan struct{})}
	fact := b.recent[e.Correlation]
	if fact != nil && w.coveredBy(fact) {
		close(w.settled)
		return w
	}
	w.answered = fact != nil || e.Emitted.After(b.since)
	b.waiting[e.Correlation] = append(b.waiting[e.Correlation], w)
	return w
}

// Forget drops all facts that were read before the time now. A wait that has ended stays so; every other one needs an answer.
func (b *Board) Forget(now time.Time) {
	clear(b.recent)
	b.order, b.since = nil, now
	for _, waits := range b.waiting {
		for _, w := range waits {
			w.answered = false
		}
	}
}

// Remove forgets a wait. It does nothing if the wait has ended.
func (b *Board) Remove(w *Wait) {
	b.setWaiting(w.event.Correlation, slices.DeleteFunc(b.waiting[w.event.Correlation], func(have *Wait) bool { return have == w }))
}

// Asks reports whether the indexer should be asked about a wait: the fact that ends the wait may have been written
// before the reading began, or may have been dropped.
func (b *Board) Asks(w *Wait) bool { return !w.answered && !w.ended() }

// Take adds a fact that was read at the time at, and ends the waits that it covers. The fact must not be changed
// afterwards. Taking a fact twice does no harm.
func (b *Board) Take(fact *obligation.Settled, at time.Time) {
	b.recent[fact.Correlation] = fact
	b.order = append(b.order, reading{fact, at})
	for len(b.order) > maxRecent {
		oldest := b.order[0]
		b.order = b.order[1:]
		if b.recent[oldest.fact.Correlation] == oldest.fact {
			delete(b.recent, oldest.fact.Correlation)
		}
		b.since = oldest.at
	}
	b.end(fact)
}

// TakeReopened adds a story.reopened that was read at the time at. Receipts that are added from then on wait until the
// story has settled again.
func (b *Board) TakeReopened(fact *obligation.Reopened, at time.Time) {
	b.Take(&obligation.Settled{Correlation: fact.Correlation}, at)
}

// TakeAnswer takes in an answer of the indexer to a question about a story, and ends the waits that it covers. from is
// the offset of tidings.story from which on this process reads the topic. If the answer takes all facts below from into
// account, the other waits for the story need no further answer: the facts that end them are at from or above, where
// this process reads them itself.
func (b *Board) TakeAnswer(a *obligation.Answer, from int64) {
	if a.Settled {
		b.end(&obligation.Settled{Correlation: a.Correlation, Through: a.Through})
	}
	if a.StoryEnd >= from {
		for _, w := range b.waiting[a.Correlation] {
			w.answered = true
		}
	}
}

// end ends the waits that a fact covers.
func (b *Board) end(fact *obligation.Settled) {
	b.setWaiting(fact.Correlation, slices.DeleteFunc(b.waiting[fact.Correlation], func(w *Wait) bool {
		if !w.coveredBy(fact) {
			return false
		}
		close(w.settled)
		return true
	}))
}

// setWaiting sets the open waits of a correlation.
func (b *Board) setWaiting(correlation string, waits []*Wait) {
	if len(waits) == 0 {
		delete(b.waiting, correlation)
		return
	}
	b.waiting[correlation] = waits
}

// ended reports whether the wait has ended.
func (w *Wait) ended() bool {
	select {
	case <-w.settled:
		return true
	default:
		return false
	}
}

// coveredBy reports whether the wait's event is among those that a fact says have settled.
func (w *Wait) coveredBy(fact *obligation.Settled) bool {
	return fact.CoversIn(w.event.Topic, w.event.TopicID, w.event.Partition, w.event.Offset)
}

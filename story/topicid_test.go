package story

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// topicsTest is an index and a log whose topic orders is deleted and created again, with the ids 1, 2, 3.
type topicsTest struct {
	*testing.T
	ix *Index
	l  *testLog
}

// name makes orders the topic with this id, whose offsets begin at 0.
func (t topicsTest) name(id byte) {
	t.Helper()
	must(t, t.ix.setTopics([]logclient.Topic{{Name: "orders", ID: [16]byte{id}, Partitions: 1}}))
	t.l.ends["orders/0"] = 0
}

// subscribe appends a subscription of the reaction payment to the topic with this id. change, unless nil, changes it
// before.
func (t topicsTest) subscribe(id byte, revision int64, change func(*obligation.Subscription)) {
	s := &obligation.Subscription{Reaction: "payment", Topic: "orders", TopicID: obligation.TopicID{id}, Types: []string{"placed"}, Revision: revision}
	if change != nil {
		change(s)
	}
	t.l.fact(s)
}

// marks appends marks of payment for the offsets [lo, hi) of the topic with this id. change, unless nil, changes them
// before.
func (t topicsTest) marks(id byte, lo, hi int64, change func(*obligation.Marks)) {
	m := &obligation.Marks{Reaction: "payment", Topic: "orders", TopicID: obligation.TopicID{id}, Done: []offsets.Range{{Lo: lo, Hi: hi}}, Position: hi}
	if change != nil {
		change(m)
	}
	t.l.fact(m)
}

// place appends an event that is a story of its own.
func (t topicsTest) place(id string) {
	t.l.event("orders", id, id, "", "", "placed", "order/"+id, epoch)
}

// open applies the records that were appended, and fails the test unless the story shows, and counts, want open
// obligations.
func (t topicsTest) open(correlation string, want int) {
	t.Helper()
	apply(t, t.ix, t.l)
	n := 0
	for e := range ask(t.T, t.ix, correlation, Live{}).All {
		for _, o := range e.Obligations {
			if o.Open() {
				n++
			}
		}
	}
	counted := -1
	must(t, t.ix.read(func(tx *readTx) error {
		refs := tx.find(correlation).refs
		counted = tx.story(refs[0].num).open
		return tx.err
	}))
	if n != want || counted != want {
		t.Errorf("%s: %d open are shown, %d are counted, in place of %d", correlation, n, counted, want)
	}
}

// newTopicsTest returns a topicsTest with an empty index and log.
func newTopicsTest(t *testing.T) topicsTest { return topicsTest{t, openTest(t), newTestLog()} }

// TestFactsCountForTheTopicWithTheirID checks that facts about a topic that was deleted, or that will be created later,
// do not count for the topic that has the name now, in whatever order they are read.
func TestFactsCountForTheTopicWithTheirID(tt *testing.T) {
	t := newTopicsTest(tt)
	t.name(1)
	t.subscribe(1, 1, func(s *obligation.Subscription) { s.Start, s.Since = map[int32]int64{0: 0}, map[int32]int64{0: 5} })
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		t.place(id)
	}
	t.open("e", 0) // the event was there before the reaction joined
	t.open("f", 1)
	t.marks(1, 5, 6, nil)
	t.open("f", 0)

	// Case: the topic is created again. The reaction is subscribed and owes all of its events. Marks that are read now
	// are about the old topic.
	t.name(2)
	t.place("a2")
	t.place("b2")
	t.open("a2", 1)
	t.marks(1, 0, 7, nil)
	t.open("a2", 1)
	t.open("f", 0)
	t.open("g", 0)
	t.marks(2, 0, 1, nil)
	t.open("a2", 0)
	t.open("b2", 1)
	t.subscribe(2, 2, nil)
	t.open("b2", 1)

	// Case: the marks and the subscription of the next topic are read before the index knows of it.
	t.marks(3, 0, 1, nil)
	t.subscribe(3, 3, nil)
	t.open("b2", 1)
	t.name(3)
	t.place("a3")
	t.place("b3")
	t.open("a3", 0)
	t.open("b3", 1)
	t.open("b2", 1) // lost

	// Case: the index is closed and opened, and nothing changes.
	must(t, t.ix.Close())
	var err error
	t.ix, err = OpenIndex(t.ix.path, nil)
	must(t, err)
	defer t.ix.Close()
	t.open("a2", 0)
	t.open("b2", 1)
	t.open("b3", 1)

	// Case: the reaction retires.
	t.subscribe(3, 4, func(s *obligation.Subscription) { s.Retired = true })
	t.open("b2", 0)
	t.open("b3", 0)
}

// TestASubscriptionIsNotToTheTopicThatWasDeletedBefore reads a subscription to a topic that was made again before the index knows of
// that topic. A reaction that joins only then owes nothing of the deleted one; one that was subscribed before still does.
func TestASubscriptionIsNotToTheTopicThatWasDeletedBefore(tt *testing.T) {
	t := newTopicsTest(tt)
	t.name(1)
	t.place("a")
	t.open("a", 0)
	t.subscribe(2, 1, nil)
	apply(t, t.ix, t.l)
	t.name(2)
	t.open("a", 0)
	t.place("a2")
	t.open("a2", 1)
	t.name(3)
	t.place("a3")
	t.open("a3", 1)
	t.subscribe(4, 2, nil)
	apply(t, t.ix, t.l)
	t.name(4)
	t.open("a", 0)
	t.open("a2", 1) // lost
	t.open("a3", 1) // lost
	t.subscribe(4, 3, nil)
	t.open("a", 0)
	t.open("a3", 1)
	t.subscribe(4, 4, func(s *obligation.Subscription) { s.Retired = true })
	t.open("a3", 0)
}

// TestAnIndexIsBuiltAfterATopicWasMadeAgain builds an index from a log that still has facts about a deleted topic of
// the same name.
func TestAnIndexIsBuiltAfterATopicWasMadeAgain(tt *testing.T) {
	t := newTopicsTest(tt)
	t.name(2)
	t.subscribe(1, 7, func(s *obligation.Subscription) { s.Start, s.Since = map[int32]int64{0: 50}, map[int32]int64{0: 50} })
	t.marks(1, 0, 60, nil)
	t.place("again")
	apply(t, t.ix, t.l)
	t.l.fact(&obligation.Settled{Correlation: "again", Episode: 1, Events: 1, Through: []obligation.Position{{Topic: "orders", TopicID: obligation.TopicID{1}, Offset: 60}}})
	t.open("again", 1)
	if s := ask(t.T, t.ix, "again", Live{}); s.Standing != StandingOpen {
		t.Error(s.Standing)
	}
	// Case: the event is handled. The fact that the story has settled is about the old topic, so the story must be
	// judged.
	t.marks(2, 0, 1, nil)
	t.open("again", 0)
	if len(t.ix.judge.pending) != 1 {
		t.Error("a story settled in a topic that was deleted, and is not judged in the one that was made again")
	}
}

// TestHostileNumbersBlockNothing appends facts with numbers that no writer of Tidings gives. Later facts must count all
// the same.
func TestHostileNumbersBlockNothing(tt *testing.T) {
	t := newTopicsTest(tt)
	var warned strings.Builder
	t.ix.log = slog.New(slog.NewTextHandler(&warned, nil))
	t.name(1)
	t.subscribe(1, 1, nil)
	t.place("a")
	t.place("b")
	seek := func(epoch, from, to int64) {
		t.l.fact(&obligation.Seek{Reaction: "payment", Topic: "orders", TopicID: obligation.TopicID{1}, Epoch: epoch, From: from, To: to})
	}
	hostile := func() {
		seek(math.MaxInt64, 0, 2)
		t.subscribe(1, math.MaxInt64, func(s *obligation.Subscription) { s.Types = []string{"nothing"} })
		t.l.fact(&obligation.Marks{Reaction: "payment", Topic: "orders", TopicID: obligation.TopicID{1}, Epoch: math.MaxInt64})
		t.l.fact(&obligation.Settled{Correlation: "a", Episode: math.MaxInt})
		t.l.fact(&obligation.Settled{Correlation: "nobody", Episode: 3})
		t.l.fact(&obligation.Marks{Reaction: "nobody", Topic: "orders", TopicID: obligation.TopicID{1}, Done: []offsets.Range{{Lo: 0, Hi: math.MaxInt64}}})
		t.l.fact(&obligation.Seek{Reaction: "nobody", Topic: "nowhere", Epoch: math.MaxInt64})
	}
	hostile()
	t.open("a", 1)
	t.marks(1, 0, 1, nil)
	t.open("a", 0)
	seek(1, 1, 0) // a genuine seek
	hostile()
	t.open("a", 1)
	t.marks(1, 0, 2, nil) // written before the seek
	t.open("a", 1)
	t.marks(1, 0, 2, func(m *obligation.Marks) { m.Epoch = 1 })
	t.open("a", 0)
	t.open("b", 0)
	t.l.fact(&obligation.Settled{Correlation: "a", Episode: 1, Through: []obligation.Position{{Topic: "orders", Offset: 1}}})
	t.open("a", 0)
	if s := ask(t.T, t.ix, "a", Live{}); s.Standing != StandingSettled {
		t.Error(s.Standing)
	}
	t.subscribe(1, 2, func(s *obligation.Subscription) { s.Retired = true })
	t.place("c")
	t.open("c", 0)
	for _, what := range []string{"a seek with an epoch", "a subscription with a revision", "a fact with an episode"} {
		if !strings.Contains(warned.String(), what) {
			t.Errorf("no warning of %s: %s", what, &warned)
		}
	}
}

// TestFactsOfTopicsInAnyOrder reads random histories of a topic that is deleted and created again, in random order and
// in pieces: facts about a topic come before the index knows the topic, long after it was deleted, and in between. An
// event of the last topic must be open exactly if a reaction is subscribed, by a subscription to the last topic or to
// an earlier one, and has not marked it in the last topic.
func TestFactsOfTopicsInAnyOrder(tt *testing.T) {
	seed := rand.Uint64()
	games := 300
	if testing.Short() {
		games = 60
	}
	for game := range games {
		r := rand.New(rand.NewPCG(seed, uint64(game)))
		t := newTopicsTest(tt)
		last := byte(2 + r.IntN(3))
		var subscriptions, reactions []obligation.Fact
		newest := make(map[string]*obligation.Subscription)
		done := make(map[string]*offsets.Set) // by reaction, in the last topic
		for id := byte(1); id <= last; id++ {
			for _, reaction := range []string{"email", "payment", "fraud"} {
				if r.IntN(3) > 0 {
					s := &obligation.Subscription{Reaction: reaction, Topic: "orders", TopicID: obligation.TopicID{id}, Types: []string{"placed"}, Revision: 1}
					if r.IntN(2) == 0 {
						s.Since = map[int32]int64{0: r.Int64N(10)}
					}
					if have := newest[reaction]; have != nil {
						s.Revision = have.Revision + 1
					}
					newest[reaction] = s
					subscriptions = append(subscriptions, s)
				}
				if done[reaction] == nil {
					done[reaction] = new(offsets.Set)
				}
				for range r.IntN(4) {
					lo := r.Int64N(20)
					m := &obligation.Marks{Reaction: reaction, Topic: "orders", TopicID: obligation.TopicID{id}, Done: []offsets.Range{{Lo: lo, Hi: lo + r.Int64N(6)}}}
					reactions = append(reactions, m)
					if id == last {
						done[reaction].Add(m.Done[0].Lo, m.Done[0].Hi)
					}
				}
			}
		}
		some := func(facts []obligation.Fact) []obligation.Fact {
			n := r.IntN(len(facts) + 1)
			for _, f := range facts[:n] {
				t.l.fact(f)
			}
			return facts[n:]
		}
		const events = 20
		for id := byte(1); id <= last; id++ {
			t.name(id)
			for i := range events {
				if r.IntN(5) == 0 {
					subscriptions, reactions = some(subscriptions), some(reactions)
					apply(t, t.ix, t.l)
				}
				t.place(fmt.Sprint(id, "-", i))
			}
			apply(t, t.ix, t.l)
			if r.IntN(3) == 0 {
				must(t, t.ix.Close())
				again, err := OpenIndex(t.ix.path, slog.New(slog.DiscardHandler))
				must(t, err)
				t.ix = again
			}
		}
		for _, f := range append(subscriptions, reactions...) {
			t.l.fact(f)
		}
		for i := range int64(events) {
			want := 0
			for reaction, s := range newest {
				if s.TopicID == (obligation.TopicID{last}) && i < s.Since[0] {
					continue // the event was there before the reaction joined
				}
				if !done[reaction].Contains(i) {
					want++
				}
			}
			t.open(fmt.Sprint(last, "-", i), want)
		}
		must(t, t.ix.Close())
		if t.Failed() {
			t.Fatalf("seed %d, game %d", seed, game)
		}
	}
}

package story

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// removedTest is an index and a log. The reaction payment handles placed, of topic orders, and emits to topic payments, from which records are
// removed before the index reads them.
type removedTest struct {
	*testing.T
	ix *Index
	l  *testLog
}

var ordersID, paymentsID = obligation.TopicID{1}, obligation.TopicID{2}

func newRemovedTest(tt *testing.T) *removedTest {
	t := &removedTest{tt, openTest(tt), newTestLog()}
	must(t, t.ix.setTopics([]logclient.Topic{{Name: "orders", ID: ordersID, Partitions: 1}, {Name: "payments", ID: paymentsID, Partitions: 1}}))
	t.l.fact(&obligation.Subscription{Reaction: "payment", Topic: "orders", TopicID: ordersID, Types: []string{"placed"}, Revision: 1})
	return t
}

// books appends a subscription of the reaction books to the type charged of payments. change, unless nil, changes it before.
func (t *removedTest) books(change func(*obligation.Subscription)) {
	s := &obligation.Subscription{Reaction: "books", Topic: "payments", TopicID: paymentsID, Types: []string{"charged"}, Revision: 1}
	if change != nil {
		change(s)
	}
	t.l.fact(s)
}

// charge appends an order and the event of a type that payment emits for it, with payment's marks. It returns what it has emitted to
// payments. If removed is true, the index does not get to read it.
func (t *removedTest) charge(id, typ string, removed bool) {
	placed := t.l.event("orders", id, id, "", "", "placed", "order/"+id, epoch)
	t.l.event("payments", id+"c", id, id, "payment", typ, "order/"+id, epoch)
	if removed {
		t.l.records = t.l.records[:len(t.l.records)-1]
	}
	t.marks(placed.Offset, placed.Offset+1, func(*obligation.Marks) {})
}

// marks appends marks of payment for orders, which have emitted to payments up to its end.
func (t *removedTest) marks(lo, hi int64, change func(*obligation.Marks)) {
	m := &obligation.Marks{Reaction: "payment", Topic: "orders", TopicID: ordersID, Done: []offsets.Range{{Lo: lo, Hi: hi}}, Position: hi,
		Emitted: []offsets.Range{{Lo: lo, Hi: hi}}, Through: []obligation.Position{{Topic: "payments", TopicID: paymentsID, Offset: t.l.ends["payments/0"]}}}
	change(m)
	t.l.fact(m)
}

// remove has the log begin at its end in payments.
func (t *removedTest) remove() { t.Helper(); t.removeAt("payments", t.l.ends["payments/0"]) }

// removeAt has the log begin at an offset of a topic.
func (t *removedTest) removeAt(topic string, start int64) {
	t.Helper()
	ends := logclient.Offsets{"orders": {0: t.l.ends["orders/0"]}, "payments": {0: t.l.ends["payments/0"]}}
	must(t, t.ix.advance(logclient.Offsets{topic: {0: start}}, ends))
}

// settles applies what was appended and fails the test unless the stories with these correlations, and no others, settle now.
func (t *removedTest) settles(want ...string) {
	t.Helper()
	apply(t, t.ix, t.l)
	round := t.ix.freeze()
	found, _ := t.ix.verdicts(round, epoch)
	found = append(found, t.ix.allRead(t.ix.beginAll(), epoch)...)
	var got []string
	for _, v := range found {
		if f, ok := v.fact.(*obligation.Settled); ok {
			got = append(got, f.Correlation)
			t.l.fact(f)
		}
	}
	apply(t, t.ix, t.l)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q settle, want %q", got, want)
	}
}

// reopen closes the index and opens it again.
func (t *removedTest) reopen() {
	t.Helper()
	must(t, t.ix.Close())
	var err error
	t.ix, err = OpenIndex(t.ix.path, nil)
	must(t, err)
	t.Cleanup(func() { t.ix.Close() })
}

// TestWhatWasRemovedUnreadIsOwed removes what payment has emitted before the index has read it. The story must not settle as long as books,
// which is subscribed, may not have handled it.
func TestWhatWasRemovedUnreadIsOwed(tt *testing.T) {
	const owed = "order/a: what payment has emitted to topic payments may have been removed before it was read, and books may not have handled it; 1 event, 1 reaction."
	for name, then := range map[string]func(*removedTest){
		"books marks it": func(t *removedTest) {
			t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{{Lo: 0, Hi: 1}}, Position: 1, Emitted: []offsets.Range{}})
		},
		"books is moved past it": func(t *removedTest) {
			t.l.fact(&obligation.Seek{Reaction: "books", Topic: "payments", TopicID: paymentsID, Epoch: 1, To: 1})
		},
		"books retires": func(t *removedTest) { t.books(func(s *obligation.Subscription) { s.Revision, s.Retired = 2, true }) },
		"books joined later in all": func(t *removedTest) {
			t.books(func(s *obligation.Subscription) { s.Revision, s.Since = 2, map[int32]int64{0: 1} })
		},
	} {
		for _, order := range []string{"removed first", "removed last", "subscribed last"} {
			tt.Run(name+", "+order, func(tt *testing.T) {
				t := newRemovedTest(tt)
				if order != "subscribed last" {
					t.books(nil)
				}
				t.charge("a", "charged", true)
				if order == "removed last" {
					apply(t, t.ix, t.l)
				}
				t.remove()
				apply(t, t.ix, t.l)
				if order == "subscribed last" {
					t.books(nil)
				}
				for range 2 {
					t.settles()
					s := ask(t.T, t.ix, "a", Live{})
					if s.Sentence != owed || s.IncompleteStories != 1 {
						t.Errorf("%s %d incomplete", s.Sentence, s.IncompleteStories)
					}
					if l := s.Roots[0].Obligations[0].LostEmissions; !slices.Equal(l, []LostEmission{{Topic: "payments", Uncertain: true, OwedBy: "books"}}) {
						t.Errorf("%+v", l)
					}
					t.reopen()
				}
				t.settles()
				then(t)
				t.settles("a")
				if s := ask(t.T, t.ix, "a", Live{}); s.Standing != StandingSettled || s.Roots[0].Obligations[0].LostEmissions != nil {
					t.Errorf("%s, %+v", s.Sentence, s.Roots[0].Obligations)
				}
			})
		}
		// Case: nobody owes it when the story is judged for the first time, as after ordinary retention.
		tt.Run(name+", before", func(tt *testing.T) {
			t := newRemovedTest(tt)
			t.books(nil)
			then(t)
			t.charge("a", "charged", true)
			t.remove()
			t.settles("a")
		})
	}
}

// TestOneOfSeveralEmissionsWasRemoved has payment record what it emitted for two orders together. The first of the events was removed unread,
// the second was read and handled.
func TestOneOfSeveralEmissionsWasRemoved(tt *testing.T) {
	t := newRemovedTest(tt)
	t.books(nil)
	for _, id := range []string{"a", "b"} {
		t.l.event("orders", id, id, "", "", "placed", "order/"+id, epoch)
		t.l.event("payments", id+"c", id, id, "payment", "charged", "order/"+id, epoch)
	}
	all := t.l.records
	t.l.records = append(slices.Clone(all[:len(all)-3]), all[len(all)-2]) // without those of payments
	apply(t, t.ix, t.l)
	must(t, t.ix.advance(logclient.Offsets{"payments": {0: 1}}, logclient.Offsets{"orders": {0: 2}, "payments": {0: 2}}))
	t.l.records = all[len(all)-1:]
	t.marks(0, 2, func(*obligation.Marks) {})
	t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{{Lo: 1, Hi: 2}}, Emitted: []offsets.Range{}})
	t.settles()
	t.l.fact(&obligation.Seek{Reaction: "books", Topic: "payments", TopicID: paymentsID, Epoch: 1, To: 1})
	t.settles("a", "b")
}

// TestMarksThatWereRemovedHaveDoneWhatWasRemoved has books handle events whose marks fell to retention before the index read them, as what it has
// handled did. Without that, a position that is past an event does not say that it was handled: a topic in memory loses events, and the
// reaction goes on behind them.
func TestMarksThatWereRemovedHaveDoneWhatWasRemoved(tt *testing.T) {
	for _, removed := range []bool{true, false} {
		t := newRemovedTest(tt)
		t.books(nil)
		apply(t, t.ix, t.l)
		if removed {
			t.l.ends[obligation.ReactionsTopic+"/0"] = 3
			marks := logclient.Offsets{obligation.ReactionsTopic: {0: 3}}
			must(t, t.ix.setTopics([]logclient.Topic{{Name: "orders", ID: ordersID, Partitions: 1}, {Name: "payments", ID: paymentsID, Partitions: 1}, {Name: obligation.ReactionsTopic, ID: obligation.TopicID{3}, Partitions: 1}}))
			must(t, t.ix.advance(marks, marks))
		}
		t.l.ends["payments/0"] = 47
		t.charge("a", "charged", true)
		t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{{Lo: 40, Hi: 50}}, Position: 50, Emitted: []offsets.Range{}})
		t.remove()
		if removed {
			t.settles("a")
		} else {
			t.settles()
		}
	}
}

// TestWhatIsEmittedAfterALossSettles has payment handle, after a broker with payments in memory has started again, an order from before. Books
// has gone on behind what was in memory.
func TestWhatIsEmittedAfterALossSettles(tt *testing.T) {
	t := newRemovedTest(tt)
	t.books(nil)
	placed := t.l.event("orders", "a", "a", "", "", "placed", "order/a", epoch)
	apply(t, t.ix, t.l)
	t.l.ends["payments/0"] = 1 << 20
	t.remove()
	t.l.event("payments", "ac", "a", "a", "payment", "charged", "order/a", epoch)
	t.marks(placed.Offset, placed.Offset+1, func(*obligation.Marks) {})
	t.settles()
	t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{{Lo: 1 << 20, Hi: 1<<20 + 1}}, Position: 1<<20 + 1, Emitted: []offsets.Range{}})
	t.settles("a")
}

// TestMarksOfBeforeAndAfterALossTellThemApart has payment record together what it emitted to a topic in memory before its broker started again,
// and after. Books has handled only the first of what was lost, and goes on behind it. Offsets that were never given hold up nothing.
func TestMarksOfBeforeAndAfterALossTellThemApart(tt *testing.T) {
	at := func(lo, hi int64) obligation.Position {
		return obligation.Position{Topic: "payments", TopicID: paymentsID, Offset: hi, Span: hi - lo}
	}
	const start = 1 << 20
	for name, c := range map[string]struct {
		through []obligation.Position
		settles bool
	}{
		"of both":                {[]obligation.Position{at(0, 2), at(start, start+1)}, false},
		"of before":              {[]obligation.Position{at(1, 2)}, false},
		"of before, handled":     {[]obligation.Position{at(0, 1), at(start, start+1)}, true},
		"of after":               {[]obligation.Position{at(start, start+1)}, true},
		"of both, first unknown": {[]obligation.Position{{Topic: "payments", TopicID: paymentsID, Offset: start + 1}}, true}, // as earlier versions have it
	} {
		tt.Run(name, func(tt *testing.T) {
			t := newRemovedTest(tt)
			t.books(nil)
			t.l.event("orders", "a", "a", "", "", "placed", "order/a", epoch)
			apply(t, t.ix, t.l)
			t.l.ends["payments/0"] = start
			t.remove()
			t.marks(0, 1, func(m *obligation.Marks) { m.Through = c.through })
			t.l.event("payments", "b", "b", "", "", "charged", "order/b", epoch)
			for _, done := range []offsets.Range{{Lo: 0, Hi: 1}, {Lo: start, Hi: start + 1}} {
				t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{done}, Position: done.Hi, Emitted: []offsets.Range{}})
			}
			apply(t, t.ix, t.l)
			t.reopen()
			if c.settles {
				t.settles("a", "b")
				return
			}
			t.settles("b")
			t.l.fact(&obligation.Seek{Reaction: "books", Topic: "payments", TopicID: paymentsID, Epoch: 1, To: 2})
			t.settles("a")
		})
	}
}

// TestALossIsNotForgottenAmongMany has payment emit so much, before and after a loss, that the index joins what it keeps of it.
func TestALossIsNotForgottenAmongMany(tt *testing.T) {
	t := newRemovedTest(tt)
	t.books(nil)
	const n = 3 * maxEmissions
	for i := range n {
		t.l.event("orders", fmt.Sprint(i), fmt.Sprint(i), "", "", "placed", fmt.Sprint("order/", i), epoch)
	}
	apply(t, t.ix, t.l)
	emit := func(from, to int64) {
		for o := from; o < to; o++ {
			t.l.ends["payments/0"]++
			t.marks(o, o+1, func(*obligation.Marks) {})
		}
	}
	emit(0, 3)
	apply(t, t.ix, t.l)
	t.remove()
	emit(3, n)
	apply(t, t.ix, t.l)
	t.l.event("payments", "last", fmt.Sprint(n-1), fmt.Sprint(n-1), "payment", "noted", "order/last", epoch)
	t.l.fact(&obligation.Marks{Reaction: "books", Topic: "payments", TopicID: paymentsID, Done: []offsets.Range{{Lo: 3, Hi: n + 1}}, Position: n + 1, Emitted: []offsets.Range{}})
	apply(t, t.ix, t.l)
	round := t.ix.freeze()
	found, _ := t.ix.verdicts(round, epoch)
	found = append(found, t.ix.allRead(t.ix.beginAll(), epoch)...)
	for _, v := range found {
		if c := v.fact.Key(); c == "0" || c == "1" || c == "2" {
			t.Errorf("%s settles", c)
		}
	}
	if len(found) == 0 {
		t.Error("nothing settles")
	}
}

// TestALossHoldsUpNoLaterStory has books owe something that was removed unread. Stories that have begun later, and owe nothing to books, settle,
// however much is on its way at a time.
func TestALossHoldsUpNoLaterStory(tt *testing.T) {
	t := newRemovedTest(tt)
	t.books(nil)
	for i := range 3 {
		t.charge(fmt.Sprint("lost", i), "charged", true)
	}
	t.remove()
	t.settles()
	var later []string
	for i := range 2 * maxEmissions {
		id := fmt.Sprintf("later%02d", i)
		later = append(later, id)
		t.charge(id, "noted", false)
	}
	all := t.l.records // the events of payments come last
	t.l.records = slices.DeleteFunc(slices.Clone(all), func(r *kgo.Record) bool { return r.Topic == "payments" })
	t.settles()
	t.l.records = slices.DeleteFunc(all, func(r *kgo.Record) bool { return r.Topic != "payments" })
	t.settles(later...)
}

// TestWhatIsNotSaidWhereMayHaveBeenRemoved reads marks that do not say where the emissions are, as those of earlier versions.
func TestWhatIsNotSaidWhereMayHaveBeenRemoved(tt *testing.T) {
	t := newRemovedTest(tt)
	t.books(nil)
	t.l.event("orders", "a", "a", "", "", "placed", "order/a", epoch)
	t.l.ends["payments/0"] = 1
	t.marks(0, 1, func(m *obligation.Marks) { m.Emitted, m.Through = nil, nil })
	t.remove()
	t.settles()
	t.l.fact(&obligation.Seek{Reaction: "books", Topic: "payments", TopicID: paymentsID, Epoch: 1, To: 1})
	t.settles("a")
}

// TestPositionsOfEarlierVersionsAreRead decodes rows of the bucket positions that end with whether something was missed.
func TestPositionsOfEarlierVersionsAreRead(t *testing.T) {
	row := positionRow{next: 7, tail: newTail(), forgotten: 3}
	now := row.encode()
	for missed, want := range map[byte]miss{0: {}, 1: {offsets.Range{Hi: 7}, 1<<63 - 1}} {
		was := append(slices.Clone(now[:len(now)-4]), missed)
		got, err := decodePosition(was)
		if err != nil || got.missed != want || got.next != 7 || got.forgotten != 3 {
			t.Errorf("%d: %+v, %v", missed, got, err)
		}
	}
	row.missed = miss{offsets.Range{Lo: 2, Hi: 5}, 9}
	if got, err := decodePosition(row.encode()); err != nil || got.missed != row.missed {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTheEventThatAStoryBeganWithWasRemoved removes an order unread that payment has handled, and audit may not have. The story, of which only the
// charge was read, must not settle as long as audit owes the order.
func TestTheEventThatAStoryBeganWithWasRemoved(tt *testing.T) {
	for name, then := range map[string]obligation.Fact{
		"audit marks it":         &obligation.Marks{Reaction: "audit", Topic: "orders", TopicID: ordersID, Done: []offsets.Range{{Lo: 0, Hi: 1}}, Position: 1, Emitted: []offsets.Range{}},
		"audit is moved past it": &obligation.Seek{Reaction: "audit", Topic: "orders", TopicID: ordersID, Epoch: 1, To: 1},
		"audit retires":          &obligation.Subscription{Reaction: "audit", Topic: "orders", TopicID: ordersID, Revision: 2, Retired: true},
	} {
		tt.Run(name, func(tt *testing.T) {
			t := newRemovedTest(tt)
			t.l.fact(&obligation.Subscription{Reaction: "audit", Topic: "orders", TopicID: ordersID, Types: []string{"placed"}, Revision: 1})
			t.l.ends["orders/0"] = 1
			t.removeAt("orders", 1)
			t.l.event("payments", "ac", "a", "a", "payment", "charged", "order/a", epoch)
			t.marks(0, 1, func(*obligation.Marks) {})
			for range 2 {
				t.settles()
				s := ask(t.T, t.ix, "a", Live{})
				if want := "order/a: the event that it began with may have been removed before it was read, and audit may not have handled it; 1 event, 0 reactions."; s.Sentence != want || s.IncompleteStories != 1 {
					t.Errorf("%s %d incomplete", s.Sentence, s.IncompleteStories)
				}
				t.reopen()
			}
			// Case: a story whose first event was read does not wait.
			placed := t.l.event("orders", "b", "b", "", "", "placed", "order/b", epoch)
			for _, reaction := range []string{"payment", "audit"} {
				t.l.fact(&obligation.Marks{Reaction: reaction, Topic: "orders", TopicID: ordersID, Done: []offsets.Range{{Lo: placed.Offset, Hi: placed.Offset + 1}}, Emitted: []offsets.Range{}})
			}
			t.settles("b")
			t.l.fact(then)
			t.settles("a")
		})
	}
}

// TestReceiptsOfWhatWasRemovedUnread settles a story of which an event was removed unread, below another one in its partition. The fact, and the
// answer to a question, cover it once payment has done it.
func TestReceiptsOfWhatWasRemovedUnread(tt *testing.T) {
	for _, handled := range []bool{false, true} {
		t := newRemovedTest(tt)
		t.l.event("orders", "a0", "a", "", "", "placed", "order/a", epoch)
		apply(t, t.ix, t.l)
		t.l.ends["orders/0"] = 3
		t.removeAt("orders", 3) // the events at 1 and 2
		t.l.event("orders", "a3", "a", "", "", "placed", "order/a", epoch)
		done := []offsets.Range{{Lo: 0, Hi: 2}, {Lo: 3, Hi: 4}}
		if handled {
			done = []offsets.Range{{Lo: 0, Hi: 4}}
		}
		t.l.fact(&obligation.Marks{Reaction: "payment", Topic: "orders", TopicID: ordersID, Done: done, Emitted: []offsets.Range{}})
		t.settles("a")
		answers, err := t.ix.answer([]*obligation.Question{{Correlation: "a"}})
		if err != nil || !answers[0].Settled {
			t.Fatalf("%+v, %v", answers, err)
		}
		said := obligation.Settled{Through: answers[0].Through}
		for offset, want := range []bool{true, true, handled, true, false} {
			if got := said.CoversIn("orders", ordersID, 0, int64(offset)); got != want {
				t.Errorf("handled %v: the event at %d is covered: %v", handled, offset, got)
			}
		}
	}
}

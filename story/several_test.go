package story

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/obligation"
)

// settle applies the records of l, and appends and applies the verdicts for all stories that are due.
func settle(t *testing.T, ix *Index, l *testLog) {
	t.Helper()
	apply(t, ix, l)
	ix.freeze()
	for _, v := range ix.allRead(ix.beginAll(), epoch) {
		l.fact(v.fact)
	}
	apply(t, ix, l)
}

// busyCustomer returns an index with a customer who has 1,001 stories. The fourth is stuck since stuckSince, those in
// waiting are waiting, and all others have settled.
func busyCustomer(t *testing.T, stuckSince time.Time, waiting ...int) *Index {
	t.Helper()
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	for i := range 1001 {
		id := fmt.Sprintf("o%04d", i)
		r := l.event("orders", id, id, "", "", "placed", "customer/7", after(time.Duration(i)*time.Second))
		if i != 3 && !slices.Contains(waiting, i) {
			l.handled("payment", r, after(time.Duration(i)*time.Second+ms), ms)
		}
	}
	l.fact(&obligation.Retrying{Reaction: "payment", Topic: "orders", Offset: 3, Attempt: 9, Error: "card declined", First: stuckSince, At: time.Now()})
	settle(t, ix, l)
	return ix
}

// TestTheSentenceIsAboutAllStoriesOfASubject checks that the sentence about a subject takes all of its stories into
// account: one is stuck, and a thousand newer ones have settled.
func TestTheSentenceIsAboutAllStoriesOfASubject(t *testing.T) {
	ix := busyCustomer(t, time.Now().Add(-40*time.Minute))
	s := ask(t, ix, "customer/7", Live{})
	if want := "customer/7: 1 of 1,001 stories open: stuck 40 min in payment, 9 attempts failed: card declined."; s.Sentence != want {
		t.Errorf("got  %s\nwant %s", s.Sentence, want)
	}
	if s.Standing != StandingOpen || s.OpenStories != 1 || s.Events != 1001 || s.LeftStories != 981 {
		t.Errorf("%s, %d open, %d events, %d left", s.Standing, s.OpenStories, s.Events, s.LeftStories)
	}
	got := strings.Split(render(t, s, Format{}), "\n")
	want := strings.Split(`
placed  2026-03-04 10:00:03.000 UTC  +3.0 s  customer/7  orders/0@3
└─ ↻ payment  retrying, 9 attempts failed: card declined

✓ settled  2026-03-04 10:16:40.000 UTC  1 event  o1000
✓ settled  2026-03-04 10:16:39.000 UTC  1 event  o0999`, "\n")
	if !slices.Equal(got[1:1+len(want)], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if end := got[len(got)-2]; end != "not shown: 981 more stories" || len(got) != 1+len(want)+17+2+1 {
		t.Errorf("%d lines, the last %q", len(got), end)
	}
}

// TestOpenStoriesComeFirst checks the order of stories: those that are stuck come first, also before newer ones that
// only wait. The sentence is about the one that has been stuck for longest.
func TestOpenStoriesComeFirst(t *testing.T) {
	ix := busyCustomer(t, time.Now().Add(-40*time.Minute), 1000, 500)
	s := ask(t, ix, "customer/7", Live{})
	if want := []string{"o0003", "o1000", "o0500", "o0999"}; !slices.Equal(s.Correlations[:4], want) {
		t.Errorf("%v", s.Correlations[:4])
	}
	if want := "customer/7: 3 of 1,001 stories open: stuck 40 min in payment, 9 attempts failed: card declined; 2 more open."; s.Sentence != want {
		t.Error(s.Sentence)
	}
}

func TestALimitOfStories(t *testing.T) {
	ix := busyCustomer(t, time.Now())
	for limit, want := range map[int]int{1: 1, 0: 20, 50: 50, -1: 1001, 5000: 1001} {
		s, err := ix.Stories("customer/7", limit, Live{})
		if err != nil || len(s.Correlations) != want || len(s.Settled) != want-1 || s.LeftStories != 1001-want || s.OpenStories != 1 {
			t.Errorf("limit %d: %d stories, %d left, %v", limit, len(s.Correlations), s.LeftStories, err)
		}
	}
}

// TestSeveralStoriesOfWhichNothingIsOwed checks the sentence about several stories without open obligations.
func TestSeveralStoriesOfWhichNothingIsOwed(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	for _, id := range []string{"o1", "o2"} {
		l.handled("payment", l.event("orders", id, id, "", "", "placed", "order/1", epoch), after(ms), ms)
	}
	settle(t, ix, l)
	if s := ask(t, ix, "order/1", Live{}); s.Sentence != "order/1: all 2 stories have settled; 2 events." || s.Standing != StandingSettled {
		t.Error(s.Sentence)
	}
	l.handled("payment", l.event("orders", "o3", "o3", "", "", "placed", "order/1", epoch), after(ms), ms)
	apply(t, ix, l)
	if s := ask(t, ix, "order/1", Live{}); s.Sentence != "order/1: nothing is owed as far as is known; 1 of 3 stories not recorded as settled; 3 events." {
		t.Error(s.Sentence)
	}
	// The newest 30 stories of another subject have no listeners, but its oldest has.
	l.handled("payment", l.event("orders", "p", "p", "", "", "placed", "order/2", epoch), after(ms), ms)
	for i := range 30 {
		l.event("letters", fmt.Sprint("l", i), fmt.Sprint("l", i), "", "", "sent", "order/2", epoch)
	}
	apply(t, ix, l)
	if s := ask(t, ix, "order/2", Live{}); strings.Contains(s.Sentence, "nobody") {
		t.Error(s.Sentence)
	}
}

// TestAPartOfASubjectIsAKey checks that a part of a subject is a key for it, unless the part is itself a key.
func TestAPartOfASubjectIsAKey(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	for i, subject := range []string{"order/536365", "order/5363650", "customer/12", "order/12", "plain", "a/b/c"} {
		id := fmt.Sprint("e", i)
		l.event("orders", id, id, "", "", "placed", subject, epoch)
	}
	apply(t, ix, l)
	for key, want := range map[string]struct {
		sentence string
		stories  []string
	}{
		"536365":     {"order/536365: 1 event, and nobody listening.", []string{"e0"}},
		"53636":      {"53636 (2 subjects): 2 events, and nobody listening.", []string{"e1", "e0"}},
		"order/5363": {"order/5363 (2 subjects): 2 events, and nobody listening.", []string{"e1", "e0"}},
		"12":         {"12 (2 subjects): 2 events, and nobody listening.", []string{"e3", "e2"}},
		"cust":       {"customer/12: 1 event, and nobody listening.", []string{"e2"}},
		"pl":         {"plain: 1 event, and nobody listening.", []string{"e4"}},
		"b/c":        {"a/b/c: 1 event, and nobody listening.", []string{"e5"}},
	} {
		s, err := ix.Story(key, Live{})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		refs, err := ix.Find(key, 0)
		if s.Sentence != want.sentence || !slices.Equal(s.Correlations, want.stories) || err != nil || len(refs) != len(want.stories) {
			t.Errorf("%s: %s %v, %v, %v", key, s.Sentence, s.Correlations, refs, err)
		}
	}
}

// TestAReactionThatJoinedLater adds reactions days after a story has settled. One that begins at the end is shown as
// joined later. One that reads from the beginning has handled the event, which does not change when the story settled,
// whatever the reaction has emitted.
func TestAReactionThatJoinedLater(t *testing.T) {
	const days = 24 * time.Hour
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	placed := l.event("orders", "o1", "o1", "", "", "placed", "order/1", epoch)
	l.handled("payment", placed, after(8800*time.Microsecond), ms)
	settle(t, ix, l)
	const before = "order/1: settled 8.8 ms after it began; 1 event, 1 reaction."
	if s := ask(t, ix, "o1", Live{}); s.Sentence != before {
		t.Fatal(s.Sentence)
	}
	end := map[int32]int64{0: 1}
	l.fact(&obligation.Subscription{Reaction: "audit", Topic: "orders", Start: end, Since: end, At: after(2 * days)})
	l.fact(&obligation.Subscription{Reaction: "fraud", Topic: "orders", Since: end, At: after(3 * days)})
	l.handled("fraud", placed, after(3*days+time.Minute), ms)
	settle(t, ix, l)
	s := ask(t, ix, "o1", Live{})
	if want := "order/1: settled 8.8 ms after it began; 1 event, 1 reaction; fraud joined 3 days later and has handled it."; s.Sentence != want {
		t.Error(s.Sentence)
	}
	want := `
placed  2026-03-04 10:00:00.000 UTC  order/1  orders/0@0
├─ ○ audit    joined later, +2 days
├─ ✓ fraud    handled +3 days, took 1.0 ms, joined later, +3 days
└─ ✓ payment  handled +8.8 ms, took 1.0 ms
`
	if got := render(t, s, Format{}); !strings.HasSuffix(got, "\n"+want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// Case: the event that fraud has emitted has settled, too.
	l.event("checks", "c1", "o1", "o1", "fraud", "checked", "order/1", after(3*days+time.Minute))
	settle(t, ix, l)
	if s := ask(t, ix, "o1", Live{}); s.Sentence != "order/1: settled 8.8 ms after it began; 2 events, 1 reaction; fraud joined 3 days later and has handled it." {
		t.Error(s.Sentence)
	}
}

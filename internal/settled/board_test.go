package settled

import (
	"strconv"
	"testing"
	"time"

	"tidings.dev/internal/obligation"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// through returns the fact that a story settled with everything below an offset of orders/0.
func through(correlation string, offset int64) *obligation.Settled {
	return &obligation.Settled{Correlation: correlation, Through: []obligation.Position{{Topic: "orders", Offset: offset}}}
}

func at(correlation string, offset int64) Event {
	return Event{Correlation: correlation, Topic: "orders", Offset: offset, Emitted: noon}
}

// A fact ends the waits of its story that it covers, those that come later too, and no others.
func TestBoardEndsTheWaitsThatAFactCovers(t *testing.T) {
	b := NewBoard(noon.Add(-time.Hour))
	first, second, other := b.Add(at("a", 1)), b.Add(at("a", 2)), b.Add(at("b", 1))
	b.Take(through("a", 2), noon)
	if !first.ended() || second.ended() || other.ended() {
		t.Errorf("settled below offset 2 of a: %v %v %v", first.ended(), second.ended(), other.ended())
	}
	if late := b.Add(at("a", 1)); !late.ended() {
		t.Error("a receipt of an event that had settled waits")
	}
	b.Take(through("a", 3), noon)
	b.Take(through("a", 3), noon) // read twice
	if !second.ended() {
		t.Error("settled below offset 3 of a, and the receipt of offset 2 waits")
	}
	b.Remove(other)
	b.Take(through("b", 2), noon)
	if other.ended() {
		t.Error("a wait that was removed was ended")
	}
	b.Remove(first)
	if len(b.waiting) != 0 {
		t.Errorf("%d stories are waited for", len(b.waiting))
	}
}

// The board forgets the oldest facts. A wait whose fact may be among these, or was written before the reading began, needs an
// answer; no other does.
func TestWhoMayBeLateAsks(t *testing.T) {
	b := NewBoard(noon)
	early, now := at("early", 1), at("now", 1)
	early.Emitted, now.Emitted = noon.Add(-time.Second), noon.Add(time.Second)
	if w := b.Add(early); !b.Asks(w) {
		t.Error("emitted before the reading began, and asks nothing")
	}
	if w := b.Add(now); b.Asks(w) {
		t.Error("emitted after the reading began, and asks")
	}
	b.Take(through("a", 2), noon.Add(time.Minute))
	for i := range maxRecent {
		if w := b.Add(now); b.Asks(w) {
			t.Fatalf("asks after %d facts", i)
		}
		b.Take(through(strconv.Itoa(i), 2), noon.Add(time.Hour))
	}
	if w := b.Add(at("a", 1)); w.ended() || !b.Asks(w) {
		t.Error("a forgotten fact ended a wait, or nobody asks for it")
	}
	if len(b.recent) != maxRecent || len(b.order) != maxRecent {
		t.Errorf("%d and %d facts are kept", len(b.recent), len(b.order))
	}
}

// An answer ends the waits that it covers. One that knows all that was written before the reading began needs no other.
func TestAnAnswerEndsTheQuestion(t *testing.T) {
	b := NewBoard(noon.Add(time.Hour))
	first, second := b.Add(at("a", 1)), b.Add(at("a", 2))
	b.TakeAnswer(&obligation.Answer{Correlation: "a", StoryEnd: 9}, 10)
	if !b.Asks(first) || !b.Asks(second) {
		t.Error("an answer that lacks a fact has ended the question")
	}
	b.TakeAnswer(&obligation.Answer{Correlation: "a", StoryEnd: 10, Settled: true, Through: through("a", 2).Through}, 10)
	if !first.ended() || second.ended() {
		t.Errorf("settled below offset 2: %v %v", first.ended(), second.ended())
	}
	if b.Asks(first) || b.Asks(second) {
		t.Error("answered, and asks again")
	}
	b.Take(through("a", 3), noon)
	if !second.ended() {
		t.Error("the fact that was read after the answer has not ended the wait")
	}
}

// TestAReopenedStoryIsWaitedFor checks that a receipt of an event that had settled waits once its story was reopened,
// without a question, until the story has settled again.
func TestAReopenedStoryIsWaitedFor(t *testing.T) {
	b := NewBoard(noon.Add(time.Hour)) // so that a receipt asks, unless something is known of its story
	b.Take(through("a", 2), noon)
	b.TakeReopened(&obligation.Reopened{Correlation: "a"}, noon)
	w := b.Add(at("a", 1))
	if w.ended() || b.Asks(w) {
		t.Errorf("ended: %v, asks: %v", w.ended(), b.Asks(w))
	}
	b.Take(through("a", 3), noon)
	if !w.ended() {
		t.Error("settled again, and the receipt waits")
	}
}

// When the log has lost something, the facts that were read count no more: receipts wait for an answer.
func TestForgottenFactsEndNoWait(t *testing.T) {
	b := NewBoard(noon.Add(-time.Hour))
	b.Take(through("a", 2), noon)
	before := b.Add(at("b", 1))
	b.Forget(noon.Add(time.Hour))
	late := b.Add(at("a", 1))
	if late.ended() || !b.Asks(late) || !b.Asks(before) {
		t.Errorf("ended: %v, asks: %v and %v", late.ended(), b.Asks(late), b.Asks(before))
	}
	if len(b.order) != 0 {
		t.Errorf("%d facts are kept", len(b.order))
	}
}

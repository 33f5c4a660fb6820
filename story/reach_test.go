package story_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// charged follows from placed, on a topic of its own with one partition.
var charged = tidings.Define[order]("test.payment.charged", tidings.In("payments", tidings.Partitions(1)), tidings.Subject(about))

// charge makes a reaction emit charged for each order.
func charge(a *tidings.App) {
	tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
		_, err := charged.Emit(ctx, e.Data)
		return err
	})
}

// book makes a reaction count what was charged.
func book(booked *atomic.Int32) func(*tidings.App) {
	return func(a *tidings.App) {
		tidings.React(a, charged, func(context.Context, tidings.Event[order]) error {
			booked.Add(1)
			return nil
		})
	}
}

// The index does not get on with a topic that no story has to do with, as it is while a stranger has a transaction open there. Stories
// settle all the same: what their events have led to was read.
func TestATopicThatIsNotReadHoldsUpNoStoryOfOthers(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	var booked atomic.Int32
	run(t, conn, "payment", charge)
	run(t, conn, "books", book(&booked))
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	x.Pause("noise")
	if _, err := heard.Emit(ctx, order{"1"}); err != nil {
		t.Fatal(err)
	}
	receipt, err := placed.Emit(ctx, order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		t.Errorf("%v: the story waits for a topic that has nothing to do with it", err)
	}
	if n := booked.Load(); n != 1 {
		t.Errorf("it has settled, and %d payments were booked", n)
	}
}

// What a handler has emitted is not read, as it is while a stranger has a transaction open before it in its partition; the mark is, and
// what was emitted is handled. The story must not settle before it was read, however many rounds of judging there are.
func TestAStoryIsOpenWhileWhatItHasLedToIsNotRead(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	var booked atomic.Int32
	run(t, conn, "payment", charge)
	run(t, conn, "books", book(&booked))
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	x.Pause("payments")
	receipt, err := placed.Emit(ctx, order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	awaitMarks(t, ctx, conn, "payment")
	// Other stories are judged meanwhile: these owe nothing to anybody, and lead to nothing.
	for range 5 {
		other, err := returned.Emit(ctx, order{"2"})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s, err := x.Index().Story(receipt.Correlation, story.Live{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Standing == story.StandingSettled {
		t.Error("a story has settled of which an event was not read")
	}
	if s.IncompleteStories != 0 {
		t.Errorf("%s: nothing is lost", s.Sentence)
	}
	x.Resume("payments")
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	s, err = x.Index().Story(receipt.Correlation, story.Live{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Events != 2 {
		t.Errorf("the story has %d events", s.Events)
	}
}

// returned and heard have no reaction.
var (
	returned = tidings.Define[order]("test.order.returned", tidings.In("returns"), tidings.Subject(about))
	heard    = tidings.Define[order]("test.noise.heard", tidings.In("noise"), tidings.Subject(about))
)

// awaitMarks waits until a reaction has marked something as done.
func awaitMarks(t *testing.T, ctx context.Context, conn tidings.Connection, reaction string) *obligation.Marks {
	t.Helper()
	link, err := conn.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	lc, err := logclient.New(logclient.Config{Addresses: link.Addresses, Dial: link.Dial, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer lc.Close()
	for {
		for r, err := range lc.ReadAll(ctx, obligation.ReactionsTopic, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if f, err := obligation.Decode(r.Value); err == nil {
				if m, ok := f.(*obligation.Marks); ok && m.Reaction == reaction && len(m.Done) > 0 {
					return m
				}
			}
		}
	}
}

// An app emits within a handler, but not with the handler's context, into the story of its event: that belongs to what the story
// waits for.
func TestAnEmissionWithoutTheContextIsWaitedFor(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := charged.Emit(tidings.WithCorrelation(a.Context(context.Background()), e.Correlation), e.Data)
			return err
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	x.Pause("payments")
	receipt, err := placed.Emit(ctx, order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	marks := awaitMarks(t, ctx, conn, "payment")
	if len(marks.Emitted) != 1 || len(marks.Through) != 1 || marks.Through[0].Topic != "payments" || marks.Through[0].Offset != 1 {
		t.Errorf("emitted %v, up to %+v", marks.Emitted, marks.Through)
	}
	other, err := returned.Emit(ctx, order{"2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := x.Index().Story(receipt.Correlation, story.Live{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Standing == story.StandingSettled {
		t.Error("a story has settled that has an event more")
	}
	x.Resume("payments")
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAStoryWhoseNextEventIsLostDoesNotSettle deletes a topic to which a handler has emitted before the index has read that. The mark
// says that the event was there, and nobody can handle it. So the story must not settle, however much of the log is read, and says
// why. Receipts of a story that was whole before its topic was deleted are answered.
func TestAStoryWhoseNextEventIsLostDoesNotSettle(t *testing.T) {
	s := newSite(t)
	s.open(t.TempDir())
	path := filepath.Join(t.TempDir(), "index")
	var log warnings
	x, stop := s.indexing(path, &log)
	run(t, s, "payment", charge)
	shop, _ := run(t, s, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	if _, err := charged.Emit(ctx, order{"0"}); err != nil { // so that the index knows the topic
		t.Fatal(err)
	}
	s.is(x, 1, 0)
	x.Pause("payments")
	if _, err := placed.Emit(ctx, order{"1"}); err != nil {
		t.Fatal(err)
	}
	awaitMarks(t, ctx, s, "payment")
	s.deleteTopic("payments")
	lost := "order/1: what payment has emitted to topic payments was lost, for that was deleted before it was read; 1 event, 1 reaction."
	check := func() {
		t.Helper()
		// A story whose correlation was chosen settles only when all of the log was read.
		for i := range 3 {
			all, err := returned.Emit(tidings.WithCorrelation(ctx, fmt.Sprintf("return/%d", i)), order{"2"})
			if err != nil {
				t.Fatal(err)
			}
			if err := all.Settled(ctx); err != nil {
				t.Fatal(err)
			}
		}
		var got *story.Story
		for got == nil || got.Sentence != lost {
			var err error
			if got, err = x.Index().Story("order/1", story.Live{}); err != nil || got.Standing == story.StandingSettled || ctx.Err() != nil {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
	check()
	stop()
	x, _ = s.indexing(path, &log)
	check()
}

// TestWhatWasLostBeforeAnyIndexReadItIsSaid deletes a topic to which a handler has emitted before there is any index, and perhaps makes
// another one of the name. What is known of the topic is then that it was there: an index that anybody makes says what was lost, at
// once, and after a restart.
func TestWhatWasLostBeforeAnyIndexReadItIsSaid(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"deleted": false, "made again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.open(t.TempDir())
			run(t, s, "payment", charge)
			shop, _ := run(t, s, "shop", nil)
			ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
			defer cancel()
			if _, err := placed.Emit(ctx, order{"1"}); err != nil {
				t.Fatal(err)
			}
			awaitMarks(t, ctx, s, "payment")
			s.deleteTopic("payments")
			if again {
				if _, err := charged.Emit(ctx, order{"other"}); err != nil {
					t.Fatal(err)
				}
			}
			var log warnings
			kept := filepath.Join(t.TempDir(), "index")
			x, stop := s.indexing(kept, &log)
			s.wantLost(ctx, x)
			s.wantLost(ctx, index(t, s, filepath.Join(t.TempDir(), "reads only"), false))
			stop()
			x, _ = s.indexing(kept, &log)
			s.wantLost(ctx, x)
		})
	}
}

// wantLost fails the test unless the story of order/1 says, in all of its forms, that what payment has emitted to payments was lost.
func (s *site) wantLost(ctx context.Context, x *story.Indexer) {
	s.t.Helper()
	got, err := x.Story(ctx, "order/1", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	lost := []story.LostEmission{{Topic: "payments"}}
	if o := got.Roots[0].Obligations[0]; got.Standing != story.StandingQuiet || got.IncompleteStories != 1 || !slices.Equal(o.LostEmissions, lost) {
		s.t.Errorf("%s, %d incomplete, %+v", got.Standing, got.IncompleteStories, o)
	}
	var text strings.Builder
	if err := got.Render(&text, story.Format{}); err != nil {
		s.t.Fatal(err)
	}
	for _, want := range []string{
		"order/1: what payment has emitted to topic payments was lost, for that was deleted before it was read; 1 event, 1 reaction.",
		"   ✗ what it emitted to topic payments is lost: the topic was deleted before it was read",
	} {
		if !strings.Contains(text.String(), want) {
			s.t.Errorf("nothing of %q in\n%s", want, &text)
		}
	}
}

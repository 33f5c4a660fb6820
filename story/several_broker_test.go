package story_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/story"
)

// ordered is about a customer, and each of the customer's orders is a story of its own. The payments that follow are
// about the orders.
var ordered = tidings.Define[order]("test.customer.ordered", tidings.In("customers"), tidings.Subject(func(order) string { return "customer/7" }))

// pay registers a reaction that emits the payment for each order of a customer.
func pay(a *tidings.App) {
	tidings.React(a, ordered, func(ctx context.Context, e tidings.Event[order]) error {
		_, err := captured.Emit(ctx, e.Data)
		return err
	})
}

// awaitStory asks for a story until wanted returns true for it, at most for 30 seconds.
func awaitStory(t *testing.T, x *story.Indexer, key string, wanted func(*story.Story) bool) *story.Story {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := x.Story(t.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", s.Sentence)
		}
	}
}

// TestOneOfAThousandStoriesIsStuck asks for a customer with 1,001 orders, one of which is stuck while all later ones
// have settled.
func TestOneOfAThousandStoriesIsStuck(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, t.TempDir()+"/index", true)
	run(t, conn, "payment", pay)
	run(t, conn, "shipping", func(a *tidings.App) {
		tidings.React(a, captured, func(_ context.Context, e tidings.Event[order]) error {
			if e.Data.No == "3" {
				return errors.New("no such address")
			}
			return nil
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx := shop.Context(t.Context())
	var receipts []tidings.Receipt
	for i := range 1001 {
		r, err := ordered.Emit(ctx, order{No: strconv.Itoa(i)})
		if err != nil {
			t.Fatal(err)
		}
		if i != 3 {
			receipts = append(receipts, r)
		}
	}
	for _, r := range receipts {
		if err := r.Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s := awaitStory(t, x, "customer/7", func(s *story.Story) bool { return strings.Contains(s.Sentence, "stuck") && s.OpenStories == 1 })
	if !strings.HasPrefix(s.Sentence, "customer/7: 1 of 1,001 stories open: stuck ") || !strings.HasSuffix(s.Sentence, ": no such address.") {
		t.Error(s.Sentence)
	}
	if s.Standing != story.StandingOpen || s.Events != 2002 || len(s.Settled) != 19 || s.LeftStories != 981 || s.Roots[0].Correlation != s.Correlations[0] {
		t.Errorf("%s, %d events, %d settled, %d left", s.Standing, s.Events, len(s.Settled), s.LeftStories)
	}
}

// TestAReactionThatJoinsDoesNotChangeWhenAStorySettled adds two reactions after a story has settled: one that begins at
// the end, and one that reads from the beginning.
func TestAReactionThatJoinsDoesNotChangeWhenAStorySettled(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, t.TempDir()+"/index", true)
	run(t, conn, "payment", pay)
	shop, _ := run(t, conn, "shop", nil)
	ctx := shop.Context(t.Context())
	r, err := ordered.Emit(ctx, order{No: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	before := awaitStory(t, x, "customer/7", func(s *story.Story) bool { return s.Standing == story.StandingSettled })
	run(t, conn, "audit", func(a *tidings.App) {
		tidings.React(a, ordered, func(context.Context, tidings.Event[order]) error { return nil }, tidings.FromEnd())
	})
	run(t, conn, "fraud", func(a *tidings.App) {
		tidings.React(a, ordered, func(context.Context, tidings.Event[order]) error { return nil }, tidings.FromBeginning())
	})
	after := awaitStory(t, x, "customer/7", func(s *story.Story) bool { return strings.Contains(s.Sentence, "fraud") })
	if !strings.HasPrefix(after.Sentence, strings.TrimSuffix(before.Sentence, ".")+"; fraud joined ") {
		t.Errorf("before: %s\nafter:  %s", before.Sentence, after.Sentence)
	}
	states := make(map[string]story.Obligation)
	for _, o := range after.Roots[0].Obligations {
		states[o.Reaction] = o
	}
	if o := states["audit"]; o.State != story.JoinedLater || o.Joined.IsZero() {
		t.Errorf("audit: %+v", o)
	}
	if o := states["fraud"]; o.State != story.Handled || !o.Late || o.Joined.IsZero() {
		t.Errorf("fraud: %+v", o)
	}
}

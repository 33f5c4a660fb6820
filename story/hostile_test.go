package story_test

import (
	"context"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
)

// TestOffsetsThatNobodyHasGivenEndNoObligation has a stranger write a subscription of a reaction with offsets above the
// ends of the partitions. The reaction must owe what it owed before, so that no story settles without it, and its next
// start must write its own subscription again.
func TestOffsetsThatNobodyHasGivenEndNoObligation(t *testing.T) {
	for name, above := range map[string]int64{"far above the end": 1 << 62, "a little above the end": 1000} {
		t.Run(name, func(t *testing.T) {
			conn := embedded.WithoutStory(embedded.Memory())
			x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
			shop, _ := run(t, conn, "shop", nil)
			register := func(a *tidings.App) {
				tidings.React(a, placed, func(context.Context, tidings.Event[order]) error { return nil })
			}
			_, stop := run(t, conn, "email", register)
			ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
			defer cancel()
			emitAndSettle(ctx, t, order{"1"})
			stop()

			own := subscriptionOf(ctx, t, conn, "email/orders")
			hostile := own.Clone()
			hostile.Revision++
			for p := range hostile.Since {
				hostile.Since[p] = above
			}
			hostile.Start = maps.Clone(hostile.Since)
			write := &kgo.Record{Topic: hostile.RecordTopic(), Key: []byte(hostile.Key()), Value: obligation.Encode(hostile)}
			if err := client(t, conn).ProduceSync(ctx, write).FirstErr(); err != nil {
				t.Fatal(err)
			}
			receipt, err := placed.Emit(ctx, order{"2"})
			if err != nil {
				t.Fatal(err)
			}
			s, err := x.Story(ctx, receipt.ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := "order/2: waiting for email (1 behind)."; s.Sentence != want {
				t.Errorf("%q, want %q", s.Sentence, want)
			}
			fresh := index(t, conn, filepath.Join(t.TempDir(), "fresh"), false)
			if s, err := fresh.Story(ctx, receipt.ID, nil); err != nil || s.Sentence != "order/2: waiting for email (1 behind)." {
				t.Errorf("a new index: %+v, %v", s, err)
			}

			run(t, conn, "email", register)
			if err := receipt.Settled(ctx); err != nil {
				t.Fatal(err)
			}
			now := subscriptionOf(ctx, t, conn, "email/orders")
			if !maps.Equal(now.Since, own.Since) || !maps.Equal(now.Start, own.Start) || now.Revision <= hostile.Revision {
				t.Errorf("after a restart of the reaction, revision %d has since %v and start %v; want %v and %v", now.Revision, now.Since, now.Start, own.Since, own.Start)
			}
		})
	}
}

// subscriptionOf returns the last record with a key on tidings.subscriptions.
func subscriptionOf(ctx context.Context, t *testing.T, conn tidings.Connection, key string) (last *obligation.Subscription) {
	t.Helper()
	cl := client(t, conn, kgo.ConsumeTopics(obligation.SubscriptionsTopic))
	end := &kgo.Record{Topic: obligation.SubscriptionsTopic, Key: []byte("the end"), Value: []byte("{}")}
	if err := cl.ProduceSync(ctx, end).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		done := false
		fetches.EachRecord(func(r *kgo.Record) {
			if f, _ := obligation.Decode(r.Value); string(r.Key) == key {
				last, _ = f.(*obligation.Subscription)
			}
			done = done || r.Offset == end.Offset
		})
		if done {
			if last == nil {
				t.Fatalf("no subscription %s", key)
			}
			return last
		}
	}
}

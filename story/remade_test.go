package story_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/kgolink"
	"tidings.dev/story"
)

// TestMarksOfADeletedTopicCountForNothing deletes a topic and creates it anew while a reaction runs. The events in the
// new topic have offsets that the reaction has marked in the old one. They must be open until the reaction has handled
// them, in the existing index and in one that is built anew.
func TestMarksOfADeletedTopicCountForNothing(t *testing.T) {
	t.Parallel()
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	var stuck atomic.Bool
	var runs atomic.Int32
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(context.Context, tidings.Event[order]) error {
			runs.Add(1)
			if stuck.Load() {
				return tidings.RetryAfter(20*time.Millisecond, context.DeadlineExceeded)
			}
			return nil
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()
	emit := func() tidings.Receipt {
		t.Helper()
		receipt, err := placed.Emit(ctx, order{"1"})
		if err != nil {
			t.Fatal(err)
		}
		return receipt
	}
	for range 5 {
		if err := emit().Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}

	link, err := conn.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	cl, err := kgo.NewClient(kgolink.Options(link)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if answer, err := kadm.NewClient(cl).DeleteTopic(ctx, "orders"); err != nil || answer.Err != nil {
		t.Fatal(answer, err)
	}
	begun := runs.Load()
	stuck.Store(true)
	open := emit()
	for runs.Load() < begun+2 { // until the reaction has handled an event of the new topic twice, without success
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the reaction has not begun with the new topic")
		}
	}
	anew := index(t, conn, filepath.Join(t.TempDir(), "anew"), false)
	for name, index := range map[string]*story.Indexer{"the old index": x, "an index that is built anew": anew} {
		s, err := index.Story(ctx, open.Correlation, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		if s.Standing != story.StandingOpen {
			t.Errorf("in %s an event that nobody has handled stands %s", name, s.Standing)
		}
	}
	stuck.Store(false)
	if err := open.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	if err := anew.WaitSettled(ctx); err != nil {
		t.Errorf("the index that is built anew: %v; %+v", err, anew.Index().Stats())
	}
}

package story_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/obligation"
	"tidings.dev/kgolink"
	"tidings.dev/story"
)

// The topic of marks was made by somebody who keeps it for two seconds; the events are kept for ever. When the marks are older than that,
// an index that is built anew says of the events that they were handled: the reaction has raised the retention.
func TestMarksAreThereAsLongAsTheirEventsAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, err := broker.Open(broker.Config{Dir: t.TempDir(), RetentionInterval: 20 * time.Millisecond, TailBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s.broker.Store(b)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	link, err := s.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgolink.Options(link)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	set := func(pairs ...string) map[string]*string {
		configs := make(map[string]*string)
		for i := 0; i < len(pairs); i += 2 {
			configs[pairs[i]] = &pairs[i+1]
		}
		return configs
	}
	const kept = 2 * time.Second
	for topic, configs := range map[string]map[string]*string{
		obligation.ReactionsTopic: set("retention.ms", "2000", "segment.bytes", "1024"),
		"orders":                  set("retention.ms", "-1"),
	} {
		if _, err := adm.CreateTopic(ctx, 1, 1, configs, topic); err != nil {
			t.Fatal(err)
		}
	}
	x := index(t, s, filepath.Join(t.TempDir(), "index"), true)
	_, stop := run(t, s, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(context.Context, tidings.Event[order]) error { return nil })
	})
	shop, _ := run(t, s, "shop", nil)
	receipt, err := placed.Emit(shop.Context(ctx), order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	// More marks, so that the first ones are in a segment that is written to no more and may be removed.
	for range 40 {
		next, err := placed.Emit(shop.Context(ctx), order{"2"})
		if err == nil {
			err = next.Settled(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(kept + 200*time.Millisecond) // all of the marks are old
	stop()
	if err := x.CatchUp(ctx, nil); err != nil {
		t.Fatal(err)
	}
	anew := index(t, s, filepath.Join(t.TempDir(), "anew"), false)
	found, err := anew.Story(ctx, receipt.Correlation, nil)
	if err != nil {
		t.Fatal(err)
	}
	for e := range found.All {
		for _, o := range e.Obligations {
			if o.State != story.Handled {
				t.Errorf("%s: %s is %s, and was handled", e.Type, o.Reaction, o.State)
			}
		}
		if len(e.Obligations) != 1 {
			t.Errorf("%s: %d obligations", e.Type, len(e.Obligations))
		}
	}
}

package story_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cloudevent"
)

// TestStoriesWithLongCorrelationsStayApart has another program emit events with correlations that share their first 512
// bytes, and with one in Latin-1. Each must be a story of its own, with the events that follow, and an emission that
// joins one of them must be able to wait until it has settled.
func TestStoriesWithLongCorrelationsStayApart(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	seen := make(chan tidings.Meta, 8)
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			seen <- e.Meta
			return err
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 20*time.Second)
	defer cancel()

	cl := client(t, conn)
	long := strings.Repeat("c", 512)
	correlations := map[string]bool{}
	for no, correlation := range map[string]string{"1": long + "1", "2": long + "2", "3": "K\xf6ln"} {
		event := cloudevent.Event{ID: "id-" + no, Type: placed.Name(), Subject: "order/" + no, Correlation: correlation,
			ContentType: "application/json", Data: []byte(`{"no":"` + no + `"}`)}
		if err := cl.ProduceSync(ctx, event.Record("orders")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		m := <-seen
		correlations[m.Correlation] = true
		receipt, err := shipped.Emit(tidings.WithCorrelation(ctx, m.Correlation), order{no})
		if err != nil {
			t.Fatal(err)
		}
		if err := receipt.Settled(ctx); err != nil {
			t.Fatalf("the story of order %s has not settled: %v; %+v", no, err, x.Index().Stats())
		}
		s, err := x.Story(ctx, correlation, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Correlations) != 1 || s.Events != 3 {
			t.Errorf("order %s has a story of %d events, %d correlations", no, s.Events, len(s.Correlations))
		}
	}
	if len(correlations) != 3 {
		t.Errorf("%d stories in place of 3: %v", len(correlations), correlations)
	}
}

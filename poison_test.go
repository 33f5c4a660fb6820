package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
)

// Case: two subjects are poisoned, with 2,500 events each, of which more than the buffer does not fit into memory. 200 events of
// other subjects in all partitions are handled all the same. When the poison is gone, the 5,000 are handled, each once and in order.
func TestPoisonedSubjectsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	const poison, healthy = 2500, 200
	where := keep(t)
	type letter struct {
		ID   string
		Seq  int
		Text string
	}
	sent := tidings.Define[letter]("post.letter.sent", tidings.In("letters", tidings.Partitions(4)), tidings.Subject(func(l letter) string { return l.ID }))
	var healed atomic.Bool
	var seen journal
	app := open(t, "post", where)
	tidings.React(app, sent, func(_ context.Context, e tidings.Event[letter]) error {
		if strings.HasPrefix(e.Data.ID, "poison") && !healed.Load() {
			return errors.New("no")
		}
		seen.note(tidings.Event[order]{Meta: e.Meta, Data: order{ID: e.Data.ID, Seq: e.Data.Seq}})
		return nil
	}, tidings.Retry(tidings.Backoff(5*time.Millisecond, 50*time.Millisecond)), tidings.Buffer(256<<10))
	run := start(t, app)
	text := strings.Repeat("x", 200)
	emitted := make(chan error, 3)
	emit := func(n int, of func(int) letter) {
		for i := range n {
			if _, err := sent.Emit(run.ctx, of(i)); err != nil {
				emitted <- err
				return
			}
		}
		emitted <- nil
	}
	for _, id := range []string{"poison-1", "poison-2"} {
		go emit(poison, func(i int) letter { return letter{id, i + 1, text} })
	}
	for range 2 {
		if err := <-emitted; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the poison waits, and most of it not in memory", func() bool {
		s := run.Stats()["post"]
		return s.Waiting == 2*poison && s.Dropped > poison && s.Buffered < 256<<10
	})
	go emit(healthy, func(i int) letter { return letter{fmt.Sprintf("healthy-%d", i/2), i%2 + 1, text} })
	if err := <-emitted; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the healthy ones are handled", func() bool { return seen.len() == healthy })
	healed.Store(true)
	eventually(t, "the rest is handled", func() bool { return run.Stats()["post"].Handled == 2*poison+healthy })
	run.stop()
	if n := seen.len(); n != 2*poison+healthy {
		t.Errorf("%d events are handled", n)
	}
	seen.ordered(t)
	if s := app.Stats()["post"]; s.Waiting != 0 || s.Dropped != 0 || s.Buffered != 0 {
		t.Errorf("%+v", s)
	}
}

// Case: events are large and handlers slow. What is in memory stays within the buffer, but for what one fetch brings.
func TestLargeEventsStayWithinTheBuffer(t *testing.T) {
	t.Parallel()
	where := keep(t)
	const n, size = 60, 500 << 10
	large := tidings.Define[string]("post.parcel.sent", tidings.In("parcels", tidings.Partitions(3)))
	release := make(chan struct{})
	app := open(t, "post", where)
	tidings.React(app, large, func(_ context.Context, e tidings.Event[string]) error {
		<-release
		return nil
	}, tidings.Concurrency(1), tidings.Buffer(2<<20), tidings.FromBeginning())
	ctx := app.Context(t.Context())
	for range n {
		if _, err := large.Emit(ctx, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	run := start(t, app)
	eventually(t, "the buffer is full", func() bool { return run.Stats()["post"].Buffered > 2<<20 })
	most := int64(0)
	for range 50 {
		most = max(most, run.Stats()["post"].Buffered)
		time.Sleep(2 * time.Millisecond)
	}
	if most > 2<<20+8<<20 {
		t.Errorf("%d bytes are in memory", most)
	}
	close(release)
	eventually(t, "all are handled", func() bool { return run.Stats()["post"].Handled == n })
	run.stop()
}

// Case: events whose payloads were dropped are deleted before their turn. The reaction ends with what it has lost.
func TestDroppedEventsThatRetentionHasDeletedAreALoss(t *testing.T) {
	where := keep(t)
	one := tidings.Define[order]("test.one.happened", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))
	var healed atomic.Bool
	app := open(t, "audit", where)
	tidings.React(app, one, func(_ context.Context, e tidings.Event[order]) error {
		if !healed.Load() {
			return errors.New("no")
		}
		return nil
	}, tidings.Buffer(64<<10), tidings.Retry(tidings.Backoff(time.Millisecond, 20*time.Millisecond)), tidings.FromBeginning())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(t.Context()) }()
	ctx := app.Context(t.Context())
	for i := range 200 {
		if _, err := one.Emit(ctx, order{"stuck", i}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "payloads are dropped", func() bool { s := app.Stats()["audit"]; return s.Waiting == 200 && s.Dropped > 50 })
	var o kadm.Offsets
	o.AddOffset("single", 0, 200, -1)
	if _, err := kadm.NewClient(client(t, where)).DeleteRecords(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	healed.Store(true)
	select {
	case err := <-ran:
		lost, ok := errors.AsType[*tidings.LostError](err)
		if !ok || lost.Reaction != "audit" || lost.Topic != "single" || lost.From == 0 || lost.To != 200 {
			t.Errorf("%v", err)
		}
	case <-time.After(patience):
		t.Fatalf("the reaction goes on: %+v", app.Stats()["audit"])
	}
}

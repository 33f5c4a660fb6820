package story_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

type order struct {
	No string `json:"no"`
}

func about(o order) string { return "order/" + o.No }

var (
	placed   = tidings.Define[order]("test.order.placed", tidings.In("orders"), tidings.Subject(about))
	captured = tidings.Define[order]("test.payment.captured", tidings.In("orders"), tidings.Subject(about))
	shipped  = tidings.Define[order]("test.order.shipped", tidings.In("parcels"), tidings.Subject(about))
)

var quiet = slog.New(slog.DiscardHandler)

// index runs an indexer on a log until the test ends.
func index(t *testing.T, conn tidings.Connection, path string, emit bool) *story.Indexer {
	t.Helper()
	x, err := story.Open(t.Context(), conn, path, story.Options{Emit: emit, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// run runs an app until the test ends, or until the function that it returns is called.
func run(t *testing.T, conn tidings.Connection, name string, register func(*tidings.App)) (*tidings.App, func()) {
	t.Helper()
	app, err := tidings.Open(name, conn, tidings.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	if register != nil {
		register(app)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		app.Close()
	}
	t.Cleanup(stop)
	if register != nil {
		select {
		case <-app.Ready():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is not ready", name)
		}
	}
	return app, stop
}

// The whole way: an order is placed, payment captures, the warehouse ships, a mailer hears of both. Its story settles,
// and tells all of it.
func TestAnOrderSettlesAndItsStoryIsTold(t *testing.T) {
	conn := embedded.Memory()
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			return err
		})
	})
	run(t, conn, "warehouse", func(a *tidings.App) {
		tidings.React(a, captured, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := shipped.Emit(ctx, e.Data)
			return err
		})
	})
	run(t, conn, "email", func(a *tidings.App) {
		tidings.React(a, placed, func(context.Context, tidings.Event[order]) error { return tidings.Skip("no address") })
		tidings.React(a, captured, func(context.Context, tidings.Event[order]) error { return nil })
	})
	shop, _ := run(t, conn, "shop", nil)

	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 20*time.Second)
	defer cancel()
	receipt, err := placed.Emit(ctx, order{"123"})
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		t.Fatalf("not settled: %v; %+v", err, x.Index().Stats())
	}

	s, err := x.Story(ctx, "order/123", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Standing != story.StandingSettled || s.Events != 3 {
		t.Errorf("%s, %d events", s.Standing, s.Events)
	}
	var lines []string
	for e := range s.All {
		for _, o := range e.Obligations {
			lines = append(lines, fmt.Sprintf("%s: %s %s (%s)", e.Type, o.Reaction, o.State, o.Certainty))
		}
	}
	slices.Sort(lines)
	want := []string{
		"test.order.placed: email skipped (recorded)",
		"test.order.placed: payment handled (recorded)",
		"test.order.shipped:  nobody_listening (recorded)",
		"test.payment.captured: email handled (recorded)",
		"test.payment.captured: warehouse handled (recorded)",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(lines, "\n     "), strings.Join(want, "\n     "))
	}
	var b bytes.Buffer
	if err := s.Render(&b, story.Format{}); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
	for _, word := range []string{receipt.ID, receipt.Correlation} {
		if s, err := x.Story(ctx, word, nil); err != nil || s.Events != 3 {
			t.Errorf("%s: %v", word, err)
		}
	}
	if _, err := x.Story(ctx, "order/9", nil); !errors.Is(err, story.ErrNotFound) {
		t.Errorf("order/9: %v", err)
	}
}

// Nobody listens: then there is nothing to wait for, even in a topic that nobody has heard of.
func TestAnEventThatNobodyHearsSettlesAtOnce(t *testing.T) {
	conn := embedded.Memory()
	index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 10*time.Second)
	defer cancel()
	receipt, err := placed.Emit(ctx, order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
}

// A reaction that is down holds the story open, says how far it is behind, and settles it when it is back. An indexer
// that was not there meanwhile finds all that, too.
func TestAStoryWaitsForAReactionThatIsDown(t *testing.T) {
	conn := embedded.Memory()
	dir := t.TempDir()
	shop, _ := run(t, conn, "shop", nil)
	fails := make(chan error, 1)
	fails <- errors.New("connection refused")
	register := func(a *tidings.App) {
		tidings.React(a, placed, func(context.Context, tidings.Event[order]) error {
			select {
			case err := <-fails:
				return err
			default:
				return nil
			}
		}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	}
	_, stop := run(t, conn, "email", register)
	stop()

	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 20*time.Second)
	defer cancel()
	var last tidings.Receipt
	for range 3 {
		var err error
		if last, err = placed.Emit(ctx, order{"7"}); err != nil {
			t.Fatal(err)
		}
	}
	x := index(t, conn, filepath.Join(dir, "index"), true)
	s, err := x.Story(ctx, last.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "order/7: waiting for email (3 behind)."; s.Sentence != want || s.Standing != story.StandingOpen {
		t.Errorf("%q, %s; want %q", s.Sentence, s.Standing, want)
	}
	brief, giveUp := context.WithTimeout(ctx, 300*time.Millisecond)
	defer giveUp()
	if err := last.Settled(brief); err == nil {
		t.Error("it has settled, with email down")
	}

	run(t, conn, "email", register)
	if err := last.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.WaitSettled(ctx); err != nil {
		t.Fatal(err)
	}
	if st := x.Index().Stats(); st.Settled != 3 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

// Another process asks with an index of its own, which emits nothing.
func TestAnyoneCanAsk(t *testing.T) {
	conn := embedded.Memory()
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 20*time.Second)
	defer cancel()
	if _, err := placed.Emit(ctx, order{"5"}); err != nil {
		t.Fatal(err)
	}
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), false)
	s, err := x.Story(ctx, "order/5", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "order/5: 1 event, and nobody listening."; s.Sentence != want {
		t.Errorf("%q, want %q", s.Sentence, want)
	}
}

// Settled is told promptly when the log is idle, and in batches when it is not.
func TestSettledIsTold(t *testing.T) {
	conn := embedded.Memory()
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			return err
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()

	var took []time.Duration
	for i := range 21 {
		began := time.Now()
		receipt, err := placed.Emit(ctx, order{fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := receipt.Settled(ctx); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("emit to settled: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > time.Second {
		t.Errorf("half of all stories took %v or more to settle", took[len(took)/2])
	}

	began := time.Now()
	const orders = 2000
	for i := range orders {
		if _, err := placed.Emit(ctx, order{fmt.Sprint("many", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.WaitSettled(ctx); err != nil {
		t.Fatalf("%v: %+v", err, x.Index().Stats())
	}
	t.Logf("%d stories settled in %v", orders, time.Since(began))
}

// An indexer that is killed at any time, with its index or without it, tells nothing that does harm: facts of one story
// are numbered without gaps, one number never says two things, and in the end all have settled.
func TestAKilledIndexerRepeatsNothingHarmful(t *testing.T) {
	conn := embedded.Memory()
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			return err
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 30*time.Second)
	defer cancel()

	dir := t.TempDir()
	const lives, orders = 8, 40
	for life := range lives {
		path := filepath.Join(dir, fmt.Sprint("index", life/3)) // each is lost after three lives
		x, err := story.Open(ctx, conn, path, story.Options{Emit: true, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		living, kill := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- x.Run(living) }()
		for i := range orders {
			if _, err := placed.Emit(ctx, order{fmt.Sprint(life, "-", i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(life) * 3 * time.Millisecond)
		kill()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	x := index(t, conn, filepath.Join(dir, "last"), true)
	if err := x.WaitSettled(ctx); err != nil {
		t.Fatalf("%v: %+v", err, x.Index().Stats())
	}
	if s := x.Index().Stats(); s.Settled != lives*orders || s.Open != 0 {
		t.Errorf("%+v", s)
	}

	link, err := conn.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	client, err := kgo.NewClient(append(link.Options(), kgo.ConsumeTopics(obligation.StoryTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	settled := make(map[string]int) // by correlation: the last episode
	ids := make(map[string]string)
	repeated := 0
	for len(settled) < lives*orders {
		f := client.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("%v, after %d stories", err, len(settled))
		}
		f.EachRecord(func(r *kgo.Record) {
			var id string
			for _, h := range r.Headers {
				if h.Key == obligation.HeaderID {
					id = string(h.Value)
				}
			}
			fact, err := obligation.Decode(r.Value)
			if err != nil {
				t.Error(err)
				return
			}
			said := fmt.Sprintf("%T", fact)
			episode := 0
			switch f := fact.(type) {
			case *obligation.Settled:
				said += fmt.Sprint(f.Correlation, f.Episode, f.Events, f.Through)
				episode = f.Episode
			case *obligation.Reopened:
				said += fmt.Sprint(f.Correlation, f.Episode, f.Events)
				episode = f.Episode
			}
			if before, ok := ids[id]; ok {
				repeated++
				if before != said {
					t.Errorf("one id says %s and %s", before, said)
				}
			}
			ids[id] = said
			if last := settled[fact.Key()]; episode != last && episode != last+1 {
				t.Errorf("%s: episode %d after %d", fact.Key(), episode, last)
			}
			settled[fact.Key()] = episode
		})
	}
	t.Logf("%d facts, %d of them repeated", len(ids)+repeated, repeated)
}

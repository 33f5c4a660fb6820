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
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/kgolink"
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

// index opens an index and runs its indexer until the end of the test. emit is Options.Emit.
func index(t testing.TB, conn tidings.Connection, path string, emit bool) *story.Indexer {
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

// client returns a kgo client of the log, which is closed at the end of the test.
func client(t testing.TB, conn tidings.Connection, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	link, err := conn.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(kgolink.Options(link), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Close()
		link.Close()
	})
	return cl
}

// run opens an app. If register is not nil, it registers reactions and waits until the app is ready. The app runs until
// the end of the test, or until the returned function is called.
func run(t testing.TB, conn tidings.Connection, name string, register func(*tidings.App)) (*tidings.App, func()) {
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

// TestAnOrderSettlesAndItsStoryIsComplete follows one order through several services: it is placed, paid and shipped,
// and the mailer reacts to two of the events. The story must settle, show what each reaction has done with each event,
// and be found by each of its keys.
func TestAnOrderSettlesAndItsStoryIsComplete(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
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

// TestAnEventWithoutListenersSettlesAtOnce emits an event that no reaction takes. Its story must settle at once,
// although the topic is new to the indexer.
func TestAnEventWithoutListenersSettlesAtOnce(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), 10*time.Second)
	defer cancel()
	emitAndSettle(ctx, t, order{"1"})
}

// TestAStoryWaitsForAReactionThatIsDown places three orders while a reaction is down. Their stories must stay open; an
// indexer that is started later must find how far the reaction is behind; and the stories must settle when the reaction
// is back.
func TestAStoryWaitsForAReactionThatIsDown(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
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
	// A story without listeners settles, so the indexer judges. The three stories stay open.
	alone, err := shipped.Emit(ctx, order{"8"})
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	// The app may have read the fact before the index.
	if err := x.Index().Wait(ctx, func(s story.Stats) bool { return s.Settled > 0 }); err != nil {
		t.Fatal(err)
	}
	if st := x.Index().Stats(); st.Settled != 1 || st.Open != 3 {
		t.Errorf("with email down: %+v", st)
	}

	run(t, conn, "email", register)
	if err := last.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.WaitSettled(ctx); err != nil {
		t.Fatal(err)
	}
	if st := x.Index().Stats(); st.Settled != 4 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

// TestAnyoneCanAsk asks for a story with an index that does not emit, as another process would.
func TestAnyoneCanAsk(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
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

// TestStoriesSettleOneByOneAndManyAtOnce settles orders one after another, and then two thousand together.
func TestStoriesSettleOneByOneAndManyAtOnce(t *testing.T) {
	x, shop := settlingShop(t)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), time.Minute)
	defer cancel()
	const single, many = 21, 2000
	for i := range single {
		emitAndSettle(ctx, t, order{fmt.Sprint(i)})
	}
	for i := range many {
		if _, err := placed.Emit(ctx, order{fmt.Sprint("many", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.WaitSettled(ctx); err != nil {
		t.Fatalf("%v: %+v", err, x.Index().Stats())
	}
	if s := x.Index().Stats(); s.Settled != single+many || s.Open != 0 {
		t.Errorf("%+v, want %d settled", s, single+many)
	}
}

// BenchmarkEmitToSettled measures the time from the emission of an order until its receipt has settled, with one
// handler that emits another fact.
func BenchmarkEmitToSettled(b *testing.B) {
	_, shop := settlingShop(b)
	ctx := shop.Context(b.Context())
	for i := 0; b.Loop(); i++ {
		emitAndSettle(ctx, b, order{fmt.Sprint(i)})
	}
}

// settlingShop returns an indexer that emits verdicts, and an app that emits orders. A reaction captures the payment
// for each order.
func settlingShop(t testing.TB) (*story.Indexer, *tidings.App) {
	t.Helper()
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			return err
		})
	})
	shop, _ := run(t, conn, "shop", nil)
	return x, shop
}

// emitAndSettle places an order and waits until its story has settled.
func emitAndSettle(ctx context.Context, t testing.TB, o order) {
	t.Helper()
	receipt, err := placed.Emit(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAStoppedIndexerRepeatsNothingHarmful stops eight indexers, one after another, while they emit verdicts; some lose
// their index. The facts about a story must be numbered without gaps, an id must never stand for two different facts,
// and in the end all stories must have settled.
func TestAStoppedIndexerRepeatsNothingHarmful(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
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
		path := filepath.Join(dir, fmt.Sprint("index", life/3)) // three indexers share an index, then it is lost
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
		// The first indexers are stopped before they have read anything, the last while they emit verdicts.
		want := int64(life * orders / 2)
		if err := x.Index().Wait(ctx, func(s story.Stats) bool { return s.Settled >= want }); err != nil {
			t.Fatalf("%v: %+v", err, x.Index().Stats())
		}
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

	verdicts := client(t, conn, kgo.ConsumeTopics(obligation.StoryTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	settled := make(map[string]int) // by correlation: the last episode
	ids := make(map[string]string)
	repeated := 0
	for len(settled) < lives*orders {
		f := verdicts.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("%v, after %d stories", err, len(settled))
		}
		f.EachRecord(func(r *kgo.Record) {
			var id string
			for _, h := range r.Headers {
				if h.Key == cloudevent.HeaderID {
					id = string(h.Value)
				}
			}
			fact, err := obligation.Decode(r.Value)
			if err != nil {
				t.Error(err)
				return
			}
			content := fmt.Sprintf("%T", fact)
			episode := 0
			switch f := fact.(type) {
			case *obligation.Settled:
				content += fmt.Sprint(f.Correlation, f.Episode, f.Events, f.Through)
				episode = f.Episode
			case *obligation.Reopened:
				content += fmt.Sprint(f.Correlation, f.Episode, f.Events)
				episode = f.Episode
			}
			if before, ok := ids[id]; ok {
				repeated++
				if before != content {
					t.Errorf("one id stands for %s and %s", before, content)
				}
			}
			ids[id] = content
			if last := settled[fact.Key()]; episode != last && episode != last+1 {
				t.Errorf("%s: episode %d after %d", fact.Key(), episode, last)
			}
			settled[fact.Key()] = episode
		})
	}
	t.Logf("%d facts, %d of them repeated", len(ids)+repeated, repeated)
}

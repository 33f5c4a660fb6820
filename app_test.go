package tidings_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
)

// Nobody listens at the address. Run and Emit say so, in bounded time, and name the address and the cause.
func TestAnUnreachableLogIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for what, where := range map[string]tidings.Connection{
		address:     tidings.Kafka(address),
		"no/socket": tidings.Socket(filepath.Join(t.TempDir(), "no/socket")),
	} {
		app := open(t, "payment", where, tidings.ConnectTimeout(250*time.Millisecond))
		tidings.React(app, placed, func(context.Context, tidings.Event[order]) error { return nil })
		begun := time.Now()
		if err := app.Run(t.Context()); !errors.Is(err, tidings.ErrUnreachable) || !strings.Contains(err.Error(), what) {
			t.Errorf("Run: %v", err)
		}
		if _, err := placed.Emit(app.Context(t.Context()), order{ID: "1"}); !errors.Is(err, tidings.ErrUnreachable) {
			t.Errorf("Emit: %v", err)
		}
		if took := time.Since(begun); took >= 10*time.Second { // as without ConnectTimeout
			t.Errorf("it took %v", took)
		}
	}
}

// The network goes away while reactions run, and comes back. Nothing is lost, and nobody has to do anything.
func TestAnOutageIsSatOut(t *testing.T) {
	t.Parallel()
	network := &faulty{Connection: keep(t)}
	var seen journal
	app := open(t, "payment", network)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		_, err := captured.Emit(ctx, e.Data)
		return err
	})
	tidings.React(app, captured, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }, tidings.Named("email"))
	run := start(t, app)
	run.emit(placed, order{ID: "before"})
	eventually(t, "the chain works", func() bool { return seen.len() == 1 })

	network.down.Store(true)
	// Case: whoever emits waits no longer than they want to.
	ctx, cancel := context.WithTimeout(run.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := placed.Emit(ctx, order{ID: "during"}, tidings.ID("during")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Emit during the outage: %v", err)
	}
	network.down.Store(false)
	run.emit(placed, order{ID: "during"}, tidings.ID("during"))
	run.emit(placed, order{ID: "after"})
	eventually(t, "all three are through", func() bool { return seen.len() == 3 })
	run.stop()
	if n := seen.len(); n != 3 {
		t.Errorf("%d captures: %v", n, seen.subjects())
	}
}

// The log goes away for good: stopping takes bounded time.
func TestStoppingWithoutALog(t *testing.T) {
	t.Parallel()
	network := &faulty{Connection: keep(t)}
	app := open(t, "payment", network, tidings.DrainTimeout(100*time.Millisecond))
	entered, acknowledged := make(chan struct{}), make(chan struct{})
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		<-acknowledged
		close(entered)
		_, err := captured.Emit(ctx, e.Data)
		network.down.Store(true)
		return err
	})
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	close(acknowledged)
	<-entered
	begun := time.Now()
	run.stop()
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 20*time.Second { // as without DrainTimeout
		t.Errorf("it took %v", took)
	}
}

func TestTheLifeOfAnApp(t *testing.T) {
	where := keep(t)
	nothing := func(context.Context, tidings.Event[order]) error { return nil }

	// Case: without reactions it is ready, and runs until it is stopped.
	app := open(t, "shop", where)
	start(t, app).stop()
	if err := app.Run(t.Context()); err == nil {
		t.Error("Run a second time")
	}
	mustPanic(t, "after Run", func() { tidings.React(app, placed, nothing) })

	// Case: Close ends Run.
	app = open(t, "shop", where)
	tidings.React(app, placed, nothing)
	run := start(t, app)
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	run.stop()
	if _, err := placed.Emit(run.ctx, order{ID: "1"}); !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("Emit after Close: %v", err)
	}
	if err := app.Run(t.Context()); !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if err := app.Close(); err != nil {
		t.Errorf("Close a second time: %v", err)
	}

	// Case: wrong names, and reactions that contradict themselves.
	if _, err := tidings.Open("two words", where); err == nil {
		t.Error("a bad name was accepted")
	}
	if _, err := tidings.Open("payment", tidings.Kafka(" , ")); err == nil {
		t.Error("no address was accepted")
	}
	if _, err := tidings.Open("payment", nil); err == nil || !strings.Contains(err.Error(), "embedded.Memory()") {
		t.Errorf("a nil connection: %v", err)
	}
	if _, err := tidings.Open("payment", where, nil); err == nil || !strings.Contains(err.Error(), "an option is nil") {
		t.Errorf("a nil option: %v", err)
	}
	app = open(t, "shop", where)
	tidings.React(app, placed, nothing, tidings.FromBeginning())
	mustPanic(t, "handles shop.order.placed twice", func() { tidings.React(app, placed, nothing) })
	mustPanic(t, "two different starts", func() { tidings.React(app, captured, nothing, tidings.FromEnd()) })
	mustPanic(t, "reaction \"a b\"", func() { tidings.React(app, captured, nothing, tidings.Named("a b")) })
	mustPanic(t, "two starts are given in one call", func() {
		tidings.React(app, shipped, nothing, tidings.Named("x"), tidings.FromEnd(), tidings.FromBeginning())
	})
	mustPanic(t, "the app is nil", func() { tidings.React(nil, placed, nothing) })
	mustPanic(t, "the fact is nil", func() { tidings.React(app, nil, nothing) })
	mustPanic(t, "the handler is nil", func() { tidings.React[order](app, placed, nil) })
	mustPanic(t, "an option is nil", func() { tidings.React(app, shipped, nothing, nil) })
	fold := func(*int, tidings.Any) {}
	mustPanic(t, "the app is nil", func() { tidings.ReactWith(nil, tidings.Facts(shipped), fold, nil) })
	mustPanic(t, "no facts are given", func() { tidings.ReactWith(app, nil, fold, nil) })
	mustPanic(t, "fact number 2 is nil", func() {
		tidings.ReactWith(app, tidings.Facts(shipped, (*tidings.Fact[order])(nil)), fold, nil)
	})
	mustPanic(t, "fold is nil", func() { tidings.ReactWith[int](app, tidings.Facts(shipped), nil, nil) })
	mustPanic(t, "at least one", func() { tidings.Concurrency(0) })
	mustPanic(t, "0 < min", func() { tidings.Backoff(time.Second, time.Millisecond) })
}

func TestDefinitions(t *testing.T) {
	short := tidings.Define[order]("shop.order.placed")
	if short.Topic() != "shop.order" || short.Name() != "shop.order.placed" {
		t.Errorf("%s on %s", short.Name(), short.Topic())
	}
	mustPanic(t, "a name is words", func() { tidings.Define[order]("order placed") })
	mustPanic(t, "no topic", func() { tidings.Define[order]("placed") })
	mustPanic(t, "In is given twice", func() { tidings.Define[order]("a.b", tidings.In("x"), tidings.In("y")) })
	mustPanic(t, "Subject is given twice", func() { tidings.Define[order]("a.b", tidings.Subject(about), tidings.Subject(about)) })
	mustPanic(t, "Subject(nil)", func() { tidings.Define[order]("a.b", tidings.Subject[order](nil)) })
	mustPanic(t, "topic \"tidings.story\": names that begin with", func() { tidings.Define[order]("a.b", tidings.In("tidings.story")) })
	mustPanic(t, "choose another with tidings.In", func() { tidings.Define[order]("tidings.story.told") })
	mustPanic(t, "topic \"__x\"", func() { tidings.Define[order]("a.b", tidings.In("__x")) })
	mustPanic(t, "topic \"a/b\"", func() { tidings.Define[order]("a.b", tidings.In("a/b")) })
	mustPanic(t, "Subject takes a func(int) string", func() {
		tidings.Define[order]("a.b", tidings.Subject(func(int) string { return "" }))
	})
	for name, word := range map[string]string{"shop.order.placed": "placed", "shop.place-order": "order", "orderPlace": "place", "x.shipOrder_cancel": "cancel"} {
		if got := tidings.LastWord(name); got != word {
			t.Errorf("the last word of %s is %q", name, got)
		}
	}
	if !tidings.CommonImperative("place") || tidings.CommonImperative("placed") {
		t.Error("imperatives are not told from facts")
	}

	// Case: the name decides whose event it is; a wrong payload is an error that says where.
	e := tidings.Any{Meta: tidings.Meta{Type: "shop.order.placed", ID: "1", Topic: "orders", Offset: 7}, Payload: []byte(`{"id":"a"}`)}
	if got, ok, err := placed.From(e); !ok || err != nil || got.Data.ID != "a" || got.Offset != 7 {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if _, ok, err := captured.From(e); ok || err != nil {
		t.Errorf("another fact's: %v, %v", ok, err)
	}
	e.Payload = []byte(`{"id":`)
	_, ok, err := placed.From(e)
	if bad, is := errors.AsType[*tidings.PayloadError](err); !ok || !is || bad.Meta.Offset != 7 {
		t.Errorf("bad payload: %v, %v", ok, err)
	}
	if (tidings.Meta{ID: "1"}).Key() == (tidings.Meta{ID: "2"}).Key() {
		t.Error("two events share an idempotency key")
	}
}

// The indexer is played by the test, which is a member of the indexers' group: it says which events have settled, and exactly
// those receipts are answered.
func TestReceiptsWaitUntilTheirStoryHasSettled(t *testing.T) {
	where := keep(t)
	if _, err := kadm.NewClient(client(t, where)).CreateTopic(t.Context(), 1, 1, nil, obligation.QuestionsTopic); err != nil {
		t.Fatal(err)
	}
	joined := make(chan struct{})
	join := sync.OnceFunc(func() { close(joined) })
	client(t, where, kgo.ConsumerGroup(obligation.IndexersGroup), kgo.ConsumeTopics(obligation.QuestionsTopic),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { join() }))
	<-joined
	app := open(t, "shop", where)
	run := &running{App: app, t: t, ctx: app.Context(t.Context())}
	cl := client(t, where)
	settle := func(r tidings.Receipt, through int64, correlation string) {
		t.Helper()
		f := &obligation.Settled{Correlation: correlation, Through: []obligation.Position{{Topic: r.Topic, Partition: r.Partition, Offset: through}}, At: time.Now()}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func(r tidings.Receipt) chan error {
		done := make(chan error, 1)
		go func() { done <- r.Settled(t.Context()) }()
		return done
	}
	answered := func(what string, done chan error) {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: no answer", what)
		}
	}
	ctx := tidings.WithCorrelation(run.ctx, "story-1")
	first, err := placed.Emit(ctx, order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	early := waiting(first)
	second, err := captured.Emit(ctx, order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	other := run.emit(placed, order{ID: "2"})
	late := waiting(second)
	foreign := waiting(other)
	eventually(t, "stories are followed", func() bool { return goroutinesWith("ollower).run") > 0 }) // earlier facts would be asked for

	settle(first, first.Offset+1, "story-1")
	answered("the first event has settled", early)
	// The facts are read in order: once a later one is answered, the first has been taken in whole.
	probe := run.emit(placed, order{ID: "probe"})
	settle(probe, probe.Offset+1, probe.Correlation)
	answered("a later story has settled", waiting(probe))
	if len(late)+len(foreign) > 0 {
		t.Error("an event that is not covered counts as settled")
	}
	settle(second, second.Offset+1, "story-1")
	answered("the second event has settled", late)
	settle(other, other.Offset+1, other.Correlation)
	answered("the other story has settled", foreign)

	// Case: the fact came before the call, in this process and in one that asks for the first time.
	answered("settled before", waiting(first))
	answered("settled before", waiting(other))

	// Case: nobody says so, or there is nothing to wait for.
	lone := run.emit(placed, order{ID: "3"})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := lone.Settled(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("never settled: %v", err)
	}
	if err := (tidings.Receipt{}).Settled(t.Context()); !errors.Is(err, tidings.ErrNotEmitted) {
		t.Errorf("no event: %v", err)
	}
	closing := waiting(lone)
	time.Sleep(10 * time.Millisecond)
	app.Close()
	if err := <-closing; !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// What a handler emits is refused by the log: the event is not done, and the handler runs again.
func TestAnEmissionThatIsRefusedFailsTheHandler(t *testing.T) {
	where := keep(t)
	big := tidings.Define[string]("test.big.happened", tidings.In("big"))
	app := open(t, "payment", where)
	runs := 0
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		runs++
		size := 4 << 20
		if runs > 1 {
			size = 10
		}
		_, err := big.Emit(ctx, strings.Repeat("x", size))
		return err
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	eventually(t, "it is handled", func() bool { return run.Stats()["payment"].Handled == 1 })
	run.stop()
	if s := run.Stats()["payment"]; runs != 2 || s.Retried != 1 || s.Emitted != 1 {
		t.Errorf("%d runs, %+v", runs, s)
	}
}

func TestLogLinesKnowTheirStory(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(tidings.LogHandler(slog.NewTextHandler(&out, nil))).With("a", 1)
	app := open(t, "email", keep(t))
	done := make(chan tidings.Meta, 1)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		log.InfoContext(ctx, "inside")
		done <- e.Meta
		return nil
	})
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	e := <-done
	run.stop()
	log.InfoContext(tidings.WithCorrelation(t.Context(), "c-7"), "outside")
	log.Info("nowhere")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{fmt.Sprintf("msg=inside a=1 correlation=%s event=%s reaction=email", e.Correlation, e.ID), "msg=outside a=1 correlation=c-7", "msg=nowhere a=1"} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("%q, want it to end with %q", lines[i], want)
		}
	}
}

// A log in a directory is the same log after a restart of everything.
func TestAFileKeepsTheLog(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		var seen journal
		app := open(t, "payment", embedded.File(dir))
		tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
		run := start(t, app)
		r := run.emit(placed, order{"1", 1})
		eventually(t, "it is seen", func() bool { return seen.len() == 1 })
		run.stop()
		if err := app.Close(); err != nil {
			t.Fatal(err)
		}
		if r.Offset != int64(round) {
			t.Errorf("round %d: offset %d", round, r.Offset)
		}
	}
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if p := fmt.Sprint(recover()); !strings.Contains(p, want) {
			t.Errorf("panic: %s, want one that says %q", p, want)
		}
	}()
	f()
}

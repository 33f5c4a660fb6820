package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/cloudevent"
)

// idsOn returns how many records of a topic have each event id.
func idsOn(t *testing.T, where tidings.Connection, topic string) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, r := range dump(t, where, topic) {
		ids[header(r, cloudevent.HeaderID)]++
	}
	return ids
}

// second returns its second argument.
func second[T any](_ T, err error) error { return err }

// outage checks that err is of an emission that the log has not acknowledged within a timeout that the test has set, well
// below that of 30 s without one, and returns it.
func outage(t *testing.T, err error) *tidings.UnacknowledgedError {
	t.Helper()
	e, ok := errors.AsType[*tidings.UnacknowledgedError](err)
	if !ok {
		t.Fatalf("%v is no UnacknowledgedError", err)
	}
	if e.Tried > patience || e.Fact != placed.Name() || e.Topic != "orders" || len(e.Addresses) == 0 || e.ID == "" || e.Partition < 0 {
		t.Errorf("%+v", e)
	}
	return e
}

// The log is away: no connection can be made. Emit ends after its timeout and says that the event is not in the log, and it
// is not, when the log is back. Emissions that had time left go through.
func TestEmitInAnOutageEnds(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	const timeout = 2 * time.Second
	app := open(t, "shop", network, tidings.EmitTimeout(timeout))
	ctx := app.Context(t.Context())
	if _, err := placed.Emit(ctx, order{ID: "1"}, tidings.ID("before")); err != nil {
		t.Fatal(err)
	}
	// The first emission finds a connection that breaks when something is written to it. If that was the emission, it may be in the
	// log, as in TestEmitWithoutAnAnswerEnds; if it was another request of the client, it was never sent.
	network.down.Store(true)
	probe, cancel := context.WithTimeout(ctx, timeout/4)
	defer cancel()
	outage(t, second(placed.Emit(probe, order{ID: "3"}, tidings.ID("doubtful"))))
	early, late := make(chan error, 1), make(chan error, 1)
	go func() { _, err := placed.Emit(ctx, order{ID: "1"}, tidings.ID("early")); early <- err }()
	time.Sleep(timeout / 2)
	go func() { _, err := placed.Emit(ctx, order{ID: "1"}, tidings.ID("late")); late <- err }()

	e := outage(t, <-early)
	if e.MayBeInLog || !errors.Is(e, tidings.ErrUnreachable) || e.ID != "early" {
		t.Errorf("%+v: %v", e, e)
	}
	for _, want := range []string{"shop.order.placed not emitted", "has not acknowledged it within", "topic orders partition", "it is not in the log", "the network is down", "emit it again"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q does not say %q", e, want)
		}
	}
	network.down.Store(false)
	if err := <-late; err != nil {
		t.Errorf("an emission that had time left: %v", err)
	}
	if _, err := placed.Emit(ctx, order{ID: "1"}, tidings.ID("after")); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	ids := idsOn(t, where, "orders")
	delete(ids, "doubtful")
	if fmt.Sprint(ids) != "map[after:1 before:1 late:1]" {
		t.Errorf("in the log: %v", ids)
	}
}

// The log takes what is sent and answers nothing. Emit ends after its timeout and says that the event may be in the log.
// Emitted again under its id, it counts once.
func TestEmitWithoutAnAnswerEnds(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	app := open(t, "shop", network, tidings.EmitTimeout(time.Second))
	var seen journal
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	network.deaf.Store(true)
	begun := time.Now()
	_, err := placed.Emit(run.ctx, order{ID: "1"}, tidings.ID("doubtful"))
	if took := time.Since(begun); took < time.Second || took > patience {
		t.Errorf("it took %v", took)
	}
	if e := outage(t, err); !e.MayBeInLog || !errors.Is(e, tidings.ErrUnreachable) || !strings.Contains(e.Error(), `tidings.ID("doubtful")`) {
		t.Errorf("%+v: %v", e, e)
	}
	// Case: the caller's own context ends first.
	ctx, cancel := context.WithTimeout(run.ctx, 50*time.Millisecond)
	defer cancel()
	_, err = placed.Emit(ctx, order{ID: "2"}, tidings.ID("impatient"))
	if e := outage(t, err); !e.MayBeInLog || !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("%+v: %v", e, e)
	}
	network.deaf.Store(false)
	network.breakConnections()
	eventually(t, "the log answers", func() bool {
		_, err := placed.Emit(run.ctx, order{ID: "1"}, tidings.ID("doubtful"))
		return err == nil
	})
	run.emit(placed, order{ID: "1"}, tidings.ID("last"))
	eventually(t, "the last one is seen", func() bool { return slices.Contains(seen.ids(), "last") })
	count := 0
	for _, id := range seen.ids() {
		if id == "doubtful" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("it was handled %d times", count)
	}
}

// What a handler emits in an outage fails its event after the timeout, and the handler runs again, until the log is back. So
// does what it emits without its context.
func TestAHandlersEmissionInAnOutageEnds(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	var log logged
	app := open(t, "payment", network, tidings.EmitTimeout(500*time.Millisecond), tidings.WithLogger(log.logger()))
	var runs, failures atomic.Int32
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		network.down.Store(runs.Add(1) == 1 || e.Data.ID == "detached" && failures.Load() == 0)
		if e.Data.ID == "detached" {
			_, err := shipped.Emit(app.Context(context.Background()), e.Data)
			if unacknowledged, ok := errors.AsType[*tidings.UnacknowledgedError](err); ok && unacknowledged.Tried < 5*time.Second {
				failures.Add(1)
			}
			return err
		}
		_, err := captured.Emit(ctx, e.Data)
		return err
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	run := start(t, app)
	shop := open(t, "shop", where) // its network stays: a handler may begin before whoever has emitted its event has heard so
	emit := func(id string) {
		t.Helper()
		if _, err := placed.Emit(shop.Context(t.Context()), order{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	emit("1")
	eventually(t, "the event has failed", func() bool { return strings.Contains(log.String(), "shop.payment.captured not emitted: ") })
	network.down.Store(false)
	eventually(t, "the capture is in the log", func() bool { return run.Stats()["payment"].Emitted == 1 })
	if n := runs.Load(); n < 2 || !strings.Contains(log.String(), "has not acknowledged it within") {
		t.Errorf("%d runs; %s", n, &log)
	}

	// Case: an emission without the handler's context.
	emit("detached")
	eventually(t, "it has failed", func() bool { return failures.Load() > 0 })
	network.down.Store(false)
	eventually(t, "it was handled", func() bool { return run.Stats()["payment"].Handled >= 2 })
	run.stop()
	ids := map[string]int{}
	for _, r := range dump(t, where, "orders") {
		if header(r, cloudevent.HeaderType) == captured.Name() {
			ids[header(r, cloudevent.HeaderID)]++
		}
	}
	if len(ids) != 1 {
		t.Errorf("captures: %v", ids)
	}
}

// The broker is stopped and never comes back. Emit ends all the same, each time, and so does the app.
func TestEmitToAStoppedBrokerEnds(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(listener) }()
	app := open(t, "shop", tidings.Kafka(listener.Addr().String()), tidings.EmitTimeout(time.Second))
	ctx := app.Context(t.Context())
	if _, err := placed.Emit(ctx, order{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
	for i := range 3 {
		begun := time.Now()
		e := outage(t, second(placed.Emit(ctx, order{ID: "1"})))
		// Only the first may have been sent, while the connection broke.
		if took := time.Since(begun); took > patience || e.MayBeInLog && i > 0 || !errors.Is(e, tidings.ErrUnreachable) {
			t.Errorf("after %v: %+v: %v", took, e, e)
		}
	}
	// Case: a topic that the app has not used yet.
	_, err = elsewhere.Emit(ctx, order{ID: "1"})
	if e, ok := errors.AsType[*tidings.UnacknowledgedError](err); !ok || e.MayBeInLog || !errors.Is(err, tidings.ErrUnreachable) || e.Tried > 2*time.Second {
		t.Errorf("on a new topic: %v", err)
	}
}

var elsewhere = tidings.Define[order]("test.else.happened", tidings.In("elsewhere"), tidings.Subject(about))

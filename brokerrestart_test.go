package tidings_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/broker"
)

// restartable connects to a broker on a directory that can be stopped and started again. It forgets who is in which group.
type restartable struct {
	dir    string
	broker atomic.Pointer[broker.Broker]
}

func (r *restartable) Connect(context.Context) (*tidings.Link, error) {
	return &tidings.Link{Addresses: []string{"tidings:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if b := r.broker.Load(); b != nil {
			return b.Dial(ctx)
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}, Close: func() error { return nil }}, nil
}

func (r *restartable) start(t *testing.T) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: r.dir})
	if err != nil {
		t.Fatal(err)
	}
	r.broker.Store(b)
}

func (r *restartable) stop(t *testing.T) {
	t.Helper()
	if b := r.broker.Swap(nil); b != nil {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The broker stops while a reaction handles events, and starts again without knowing of the group. The reaction goes on with what it
// has received meanwhile, and joins again. It handles no event twice, whether its handlers emit something, which the log has to
// acknowledge first, or not.
func TestABrokerRestartRepeatsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		emits bool
		away  time.Duration
	}{
		"quiet":    {false, 1500 * time.Millisecond}, // more than a heartbeat: the first thing that it hears is that it is no member
		"emitting": {true, 4 * time.Second},          // so that the client waits for seconds before it sends again what was emitted
		"long":     {true, 21 * time.Second},         // more than the session and the patience after it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBrokerRestart(t, c.emits, c.away)
		})
	}
}

func testBrokerRestart(t *testing.T, emits bool, away time.Duration) {
	where := &restartable{dir: t.TempDir()}
	where.start(t)
	t.Cleanup(func() { where.stop(t) })
	app := open(t, "audit", where)
	var seen journal
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		time.Sleep(5 * time.Millisecond)
		if seen.note(e); !emits {
			return nil
		}
		_, err := elsewhere.Emit(ctx, e.Data)
		return err
	}, tidings.Concurrency(4))
	run := start(t, app)
	const events = 2000
	emitted := make(chan error, events)
	for i := range events {
		placed.EmitAsync(run.ctx, order{ID: fmt.Sprint(i)}, func(_ tidings.Receipt, err error) { emitted <- err })
	}
	for range events {
		if err := <-emitted; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "some events are handled", func() bool { return seen.len() > events/10 })
	where.stop(t)
	time.Sleep(away)
	where.start(t)
	eventually(t, "all events are handled", func() bool { ids := seen.ids(); slices.Sort(ids); return len(slices.Compact(ids)) == events })
	run.stop()
	if n := seen.len(); n != events {
		t.Errorf("%d events were handled %d times", events, n)
	}
}

// The broker stops twice, each time while all handlers run, so that what they handle is marked but its position is not committed. The
// marks of the second time are of a later leader epoch than the position, and count nevertheless.
func TestASecondBrokerRestartRepeatsNothing(t *testing.T) {
	t.Parallel()
	where := &restartable{dir: t.TempDir()}
	where.start(t)
	t.Cleanup(func() { where.stop(t) })
	app := open(t, "audit", where)
	var seen journal
	var running atomic.Int32
	gate := make(chan struct{})
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		running.Add(1)
		defer running.Add(-1)
		<-gate
		seen.note(e)
		return nil
	}, tidings.Concurrency(16))
	run := start(t, app)
	const events = 10
	emit := func(round int) {
		for i := range events {
			if _, err := placed.Emit(run.ctx, order{ID: fmt.Sprint(round, "-", i)}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all of them are being handled", func() bool { return running.Load() == events })
	}
	release := func() {
		for range events {
			gate <- struct{}{}
		}
	}
	emit(0)
	release()
	eventually(t, "a position is committed", func() bool {
		committed, err := kadm.NewClient(client(t, where)).FetchOffsets(t.Context(), "audit")
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		committed.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum == events
	})
	for round := range 2 {
		emit(1 + round)
		where.stop(t)
		release()
		time.Sleep(1500 * time.Millisecond) // more than a heartbeat: the first thing that it hears is that it is no member
		where.start(t)
	}
	emit(3)
	close(gate)
	eventually(t, "the last are handled", func() bool { return seen.len() >= 4*events })
	run.stop()
	if n := seen.len(); n != 4*events {
		t.Errorf("%d events were handled %d times", 4*events, n)
	}
}

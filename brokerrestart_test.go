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
	for name, emits := range map[string]bool{"quiet": false, "emitting": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBrokerRestart(t, emits)
		})
	}
}

func testBrokerRestart(t *testing.T, emits bool) {
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
	away := 1500 * time.Millisecond // more than a heartbeat: the first thing that it hears is that it is no member
	if emits {
		away = 4 * time.Second // so that the client waits for seconds before it sends again what was emitted
	}
	time.Sleep(away)
	where.start(t)
	eventually(t, "all events are handled", func() bool { ids := seen.ids(); slices.Sort(ids); return len(slices.Compact(ids)) == events })
	run.stop()
	if n := seen.len(); n != events {
		t.Errorf("%d events were handled %d times", events, n)
	}
}

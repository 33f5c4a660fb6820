package tidings_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidings.dev"
)

// metered is a connection that counts what is read through it.
type metered struct {
	tidings.Connection
	bytes atomic.Int64
}

func (m *metered) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := m.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &meteredConn{c, m}, err
	}
	return link, nil
}

type meteredConn struct {
	net.Conn
	m *metered
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.m.bytes.Add(int64(n))
	return n, err
}

// Case: the window of a partition has 60 MB of events. When the partition is assigned again, a part of that is read for its
// identities: copies of the newest events are known by them, and nothing is handled twice.
func TestAnAssignmentDoesNotReadAllPayloadsOfTheWindow(t *testing.T) {
	t.Parallel()
	const n, size = 1500, 40 << 10
	where := keep(t)
	large := tidings.Define[string]("post.parcel.sent", tidings.In("parcels", tidings.Partitions(1)))
	var handled atomic.Int32
	instance := func(where tidings.Connection) *running {
		app := open(t, "post", where)
		tidings.React(app, large, func(context.Context, tidings.Event[string]) error { handled.Add(1); return nil }, tidings.FromBeginning())
		return start(t, app)
	}
	text := strings.Repeat("x", size)
	run := instance(where)
	var emitters sync.WaitGroup
	for range 10 {
		emitters.Go(func() {
			for range n / 10 {
				if _, err := large.Emit(run.ctx, text); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	emitters.Wait()
	if _, err := large.Emit(run.ctx, text, tidings.ID("the-last")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are handled", func() bool { return handled.Load() == n+1 })
	run.stop()

	meter := &metered{Connection: where}
	run = instance(meter)
	for _, id := range []string{"the-last", "new"} {
		if _, err := large.Emit(run.ctx, text, tidings.ID(id)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new one is handled", func() bool { return handled.Load() == n+2 })
	run.stop()
	if s := run.Stats()["post"]; s.Handled != 1 || s.Duplicates != 1 {
		t.Errorf("%+v", s)
	}
	if read := meter.bytes.Load(); read > 30<<20 {
		t.Errorf("%d bytes were read to take the partition up", read)
	}
}

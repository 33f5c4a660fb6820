package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/kgolink"
)

// hanging is a connection to a log whose answers do not arrive while mute is locked.
type hanging struct {
	tidings.Connection
	mute sync.RWMutex
}

func (h *hanging) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := h.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &hangingConn{c, h}, err
	}
	return link, nil
}

type hangingConn struct {
	net.Conn
	h *hanging
}

func (c *hangingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.h.mute.RLock()
	defer c.h.mute.RUnlock()
	return n, err
}

// Case: the broker does not answer any more while lines are emitted, and has taken some of which nobody knows it. The command ends with
// the exit code of a log that is unreachable and says how to go on. Who does so has each line handled once.
func TestLinesThatAreInDoubtAreEmittedAgain(t *testing.T) {
	log := embedded.WithoutStory(embedded.File(t.TempDir()))
	door := func(e announcer) announcer {
		e.eventType, e.topic, e.subject = "home.door.opened", "doors", "door/{door}"
		return e
	}
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i <= to; i++ {
			fmt.Fprintf(&b, "{\"door\":%d,\"n\":%d}\n", i%7, i)
		}
		return b.String()
	}
	where := &hanging{Connection: log}
	first := door(announcer{id: "notes-17", fromLine: 1})
	if err := first.openOn(where, tidings.EmitTimeout(time.Second)); err != nil {
		t.Fatal(err)
	}
	in, feed := io.Pipe()
	var out clitest.Buffer
	ended := make(chan error, 1)
	go func() { ended <- first.lines(t.Context(), &shell.Session{Stdin: in, Stdout: &out, Stderr: io.Discard}) }()
	io.WriteString(feed, lines(1, 100))
	for begun := time.Now(); !strings.Contains(out.String(), "notes-17-100\t"); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatal(out.String())
		}
	}
	where.mute.Lock()
	io.WriteString(feed, lines(101, 400))
	f := shell.AsFault(<-ended)
	where.mute.Unlock()
	feed.Close()
	first.app.Close()
	if f.Exit != shell.ExitUnreachable || f.Code != "unreachable" || strings.Contains(f.Message, "tidings.ID") {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{"100 events were emitted and durable", "of lines 101-400 it is not known (ids notes-17-LINE)", "--id notes-17 --from-line 101 < FILE", "a copy"} {
		if !strings.Contains(f.Hint, want) {
			t.Errorf("nothing of %q in %q", want, f.Hint)
		}
	}

	// The last seven lines, one about each door, are behind all copies.
	again := door(announcer{id: "notes-17", fromLine: 101})
	if err := again.openOn(log); err != nil {
		t.Fatal(err)
	}
	var rest clitest.Buffer
	if err := again.lines(t.Context(), &shell.Session{Stdin: strings.NewReader(lines(1, 407)), Stdout: &rest, Stderr: io.Discard}); err != nil {
		t.Fatal(err)
	}
	again.app.Close()
	if n := strings.Count(rest.String(), "\n"); n != 307 {
		t.Errorf("%d receipts", n)
	}
	if n := recordsIn(t, log, "doors"); n <= 407 {
		t.Errorf("%d records: nothing was in doubt", n)
	}
	handled := handledOf(t, log, 407)
	for id, n := range handled {
		if n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
}

// recordsIn returns the number of records of a topic.
func recordsIn(t *testing.T, where tidings.Connection, topic string) (n int64) {
	t.Helper()
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	client, err := kgo.NewClient(kgolink.Options(link)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// handledOf runs a reaction to home.door.opened until it has handled events with so many ids, and returns how often it has handled
// each.
func handledOf(t *testing.T, where tidings.Connection, ids int) map[string]int {
	t.Helper()
	type door struct {
		Door int `json:"door"`
		N    int `json:"n"`
	}
	opened := tidings.Define[door]("home.door.opened", tidings.In("doors"))
	app, err := tidings.Open("counter", where)
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	var mu sync.Mutex
	handled := map[string]int{}
	all := make(chan struct{})
	tidings.React(app, opened, func(_ context.Context, e tidings.Event[door]) error {
		mu.Lock()
		defer mu.Unlock()
		if handled[e.ID]++; len(handled) == ids {
			close(all)
		}
		return nil
	}, tidings.FromBeginning())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatal("not all are handled")
	}
	cancel()
	<-ended
	mu.Lock()
	defer mu.Unlock()
	return handled
}

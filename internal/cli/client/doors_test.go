package client

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/broker"
)

// door is what the facts of these tests say.
type door struct {
	Door string `json:"door"`
	N    int64  `json:"n"`
}

var (
	doorOpened = tidings.Define[door]("home.door.opened", tidings.In("doors", tidings.Partitions(1)), tidings.Subject(doorSubject))
	doorClosed = tidings.Define[door]("home.door.closed", tidings.In("doors", tidings.Partitions(1)), tidings.Subject(doorSubject))
)

func doorSubject(d door) string { return "door/" + d.Door }

var errJammed = errors.New("the door is jammed")

// porter is a program whose reaction, porter, handles the doors that are opened and no others. It fails for those that are
// jammed.
type porter struct {
	t    *testing.T
	app  *tidings.App
	stop context.CancelFunc
	ran  chan error
	dir  string // of the broker

	mu      sync.Mutex
	jammed  []string
	handled []string // the ids
}

// startPorter starts a porter on the broker of a directory, until stopped or the test ends.
func startPorter(t *testing.T, dir string, jammed ...string) *porter {
	t.Helper()
	app, err := tidings.Open("porter", tidings.Socket(filepath.Join(dir, broker.SocketName)), tidings.AppVersion("7"))
	if err != nil {
		t.Fatal(err)
	}
	p := &porter{t: t, app: app, ran: make(chan error, 1), dir: dir, jammed: jammed}
	tidings.React(app, doorOpened, func(_ context.Context, e tidings.Event[door]) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if slices.Contains(p.jammed, e.Data.Door) {
			return errJammed
		}
		p.handled = append(p.handled, e.ID)
		return nil
	}, tidings.Retry(tidings.Backoff(2*time.Second, 4*time.Second)))
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	go func() { p.ran <- app.Run(ctx) }()
	<-app.Ready()
	return p
}

// halt stops the porter, which has then left its group.
func (p *porter) halt() {
	p.t.Helper()
	p.stop()
	if err := <-p.ran; err != nil {
		p.t.Error(err)
	}
	if err := p.app.Close(); err != nil {
		p.t.Error(err)
	}
}

// unjam makes all doors open when they are tried again.
func (p *porter) unjam() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jammed = nil
}

// ids returns the ids of the events that were handled, sorted.
func (p *porter) ids() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(p.handled)), " ")
}

// await blocks until exactly these events, by their sorted ids, were handled.
func (p *porter) await(ids string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); p.ids() != ids; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("handled %q, want %q", p.ids(), ids)
		}
	}
}

// open announces that doors were opened, with the doors' names as ids.
func (p *porter) open(doors ...string) {
	p.t.Helper()
	for i, d := range doors {
		if _, err := doorOpened.Emit(p.app.Context(p.t.Context()), door{d, int64(i)}, tidings.ID(d)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// close announces that a door was closed, which porter does not handle.
func (p *porter) close(d string) {
	p.t.Helper()
	if _, err := doorClosed.Emit(p.app.Context(p.t.Context()), door{Door: d}, tidings.ID("closed-"+d)); err != nil {
		p.t.Fatal(err)
	}
}

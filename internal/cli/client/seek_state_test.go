package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/internal/cli/clitest"
)

// tally is what a reaction has handled: names of events, in order.
type tally struct {
	t  *testing.T
	mu sync.Mutex
	of []string
}

func (l *tally) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of = append(l.of, text)
}

func (l *tally) await(want string) {
	l.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		got := strings.Join(l.of, " ")
		l.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("handled %q, want %q", got, want)
		}
	}
}

// run runs an app until the test ends.
func run(t *testing.T, app *tidings.App) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	<-app.Ready()
}

// openDoor emits that a door was opened. id is the event's id, too.
func openDoor(t *testing.T, app *tidings.App, id string) {
	t.Helper()
	if _, err := doorOpened.Emit(app.Context(t.Context()), door{Door: id}, tidings.ID(id)); err != nil {
		t.Fatal(err)
	}
}

// Case: a reaction with state runs, and events are handled again. Each is handled with the state as of it, and what comes later has
// the state of all.
func TestASeekRebuildsStates(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	app, err := tidings.Open("counter", socket(dir))
	if err != nil {
		t.Fatal(err)
	}
	handled := &tally{t: t}
	tidings.ReactWith(app, tidings.Facts(doorOpened), func(n *int, _ tidings.Any) { *n++ }, func(_ context.Context, n int, e tidings.Any) error {
		handled.add(fmt.Sprint(e.ID, "=", n))
		return nil
	}, tidings.Window(1)) // the states need all events, not only those that are remembered
	run(t, app)
	open := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			if _, err := doorOpened.Emit(app.Context(t.Context()), door{Door: "x"}, tidings.ID(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	open("a", "b", "c", "d", "e")
	want := "a=1 b=2 c=3 d=4 e=5"
	handled.await(want)
	untilShown(t, s, "counter\tStable\t1\t0\t", "group", "ls")
	s.Want(s.Run("group", "seek", "counter", "--topic", "doors", "--to", "3", "--yes"), 0, "\tdone\t5\t3")
	want += " d=4 e=5"
	handled.await(want)
	untilShown(t, s, "counter\tStable\t1\t0\t", "group", "ls")
	s.Want(s.Run("group", "seek", "counter", "--topic", "doors", "--event", "b", "--yes"), 0, "\tdone\t5\t1")
	want += " b=2"
	handled.await(want)
	open("f")
	want += " f=6"
	handled.await(want)
}

// Case: a handler runs when a seek comes, and ends while the reaction waits for it. It is done, and is not handled again.
func TestASeekWaitsForHandlersThatRun(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	app := openApp(t, "keeper", dir)
	handled, begun, release := &tally{t: t}, make(chan string, 10), make(chan struct{})
	tidings.React(app, doorOpened, func(_ context.Context, e tidings.Event[door]) error {
		if e.ID == "slow" {
			begun <- e.ID
			<-release
		}
		handled.add(e.ID)
		return nil
	})
	run(t, app)
	open := func(id string) { t.Helper(); openDoor(t, app, id) }
	open("a")
	handled.await("a")
	open("slow")
	<-begun
	untilShown(t, s, "keeper\tStable\t1\t1\t", "group", "ls")
	seek := s.Start(t.Context(), "", "group", "seek", "keeper", "--topic", "doors", "--event", "a", "--id", "wait", "--yes")
	untilShown(t, s, ", begun by ", "group", "show", "keeper")
	close(release)
	s.Want(seek.Wait(), 0, "\tdone\t2\t0")
	handled.await("a slow a")
	open("last")
	handled.await("a slow a last")
}

// Case: a handler runs when a seek comes, and ends after the reaction has lost its patience with it. It has handled its event in
// vain: that is open, as before, and is handled again after it, while what the seek has left done stays so.
func TestAHandlerThatRunsDuringASeekMarksNothing(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	app, err := tidings.Open("keeper", socket(dir), tidings.DrainTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	handled, begun, release := &tally{t: t}, make(chan string, 10), make(chan struct{})
	tidings.React(app, doorOpened, func(_ context.Context, e tidings.Event[door]) error {
		if e.ID == "slow" {
			begun <- e.ID
			<-release
		}
		handled.add(e.ID)
		return nil
	})
	run(t, app)
	open := func(id string) { t.Helper(); openDoor(t, app, id) }
	open("a")
	handled.await("a")
	open("b")
	handled.await("a b")
	open("slow")
	<-begun
	open("c")
	handled.await("a b c")
	untilShown(t, s, "keeper\tStable\t1\t1\t", "group", "ls")
	s.Want(s.Run("group", "seek", "keeper", "--topic", "doors", "--event", "a", "--yes"), 0, "\tdone\t2\t0")
	handled.await("a b c a")
	untilShown(t, s, "keeper\tStable\t1\t1\t", "group", "ls")
	close(release) // the first run ends, and the second one begins
	<-begun
	handled.await("a b c a slow slow")
	untilShown(t, s, "keeper\tStable\t1\t0\t", "group", "ls")
}

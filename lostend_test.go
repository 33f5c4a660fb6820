package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
)

// cutOff is a broker that can lose its end, as by a power cut that takes what was acknowledged under the durability os, or as somebody puts
// a copy of its directory in place.
type cutOff struct {
	restartable
	t    *testing.T
	kept string // a copy of its directory
}

// create creates a topic with a durability.
func (c *cutOff) create(topic string, partitions int32, mode string) {
	c.t.Helper()
	if _, err := kadm.NewClient(client(c.t, c)).CreateTopic(c.t.Context(), partitions, 1, map[string]*string{"tidings.durability": &mode}, topic); err != nil {
		c.t.Fatal(err)
	}
}

// keep makes a copy of what the log has now.
func (c *cutOff) keep() {
	c.t.Helper()
	c.kept = c.t.TempDir()
	err := fs.WalkDir(os.DirFS(c.dir), ".", func(path string, d fs.DirEntry, err error) error {
		switch to := filepath.Join(c.kept, path); {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case !d.Type().IsRegular(): // a socket
			return nil
		default:
			b, err := os.ReadFile(filepath.Join(c.dir, path))
			if err != nil {
				return err
			}
			return os.WriteFile(to, b, 0o600)
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// cut goes on with the copy.
func (c *cutOff) cut() {
	c.t.Helper()
	c.stop(c.t)
	c.dir = c.kept
	c.start(c.t)
}

// Handlers of events run when the log loses these events, and others come in their place before the handlers end. What comes is
// handled.
func TestEventsInPlaceOfThoseThatAreBeingHandledAreHandled(t *testing.T) {
	t.Parallel()
	for _, durability := range []string{"os", "sync"} { // of the latter only somebody who puts a copy of the directory in place takes the end
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			testEventsInPlace(t, durability)
		})
	}
}

func testEventsInPlace(t *testing.T, durability string) {
	where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
	where.start(t)
	t.Cleanup(func() { where.stop(t) })
	where.create("orders", 4, durability)
	app := open(t, "audit", where)
	var seen journal
	var begun atomic.Int64
	release := make(chan struct{})
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		if strings.HasPrefix(e.Data.ID, "lost") {
			begun.Add(1)
			<-release
		}
		seen.note(e)
		return nil
	})
	run := start(t, app)
	emit := func(app *tidings.App, prefix string, n int) {
		t.Helper()
		for i := range n {
			if _, err := placed.Emit(app.Context(t.Context()), order{ID: fmt.Sprint(prefix, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(prefix string) (n int) {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(seen.subjects()))) {
			if strings.HasPrefix(id, "order/"+prefix) {
				n++
			}
		}
		return n
	}
	emit(app, "kept", 20)
	eventually(t, "the first are handled", func() bool { return seen.len() == 20 && run.Stats()["audit"].Waiting == 0 })
	where.keep()
	emit(app, "lost", 40)
	eventually(t, "handlers run", func() bool { return begun.Load() >= 8 })
	where.cut()
	shop := open(t, "shop", where)
	emit(shop, "come", 60)
	time.Sleep(2 * time.Second) // the reaction notices, and has records of them, while the handlers run
	close(release)
	eventually(t, "all that came are handled", func() bool { return count("come") == 60 })
	run.stop()
}

// Events were handled ahead of one that is stuck when the log loses them, and others come in their place. These are handled, whether the
// reaction runs meanwhile or not.
func TestEventsInPlaceOfThoseThatWereHandledAheadAreHandled(t *testing.T) {
	t.Parallel()
	for name, runs := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
			where.start(t)
			t.Cleanup(func() { where.stop(t) })
			where.create("single", 1, "os")
			oneByOne := tidings.Define[order]("test.one.happened", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))
			var mu sync.Mutex
			seen := make(map[string]bool)
			has := func(prefix string, n int) func() bool {
				return func() bool {
					mu.Lock()
					defer mu.Unlock()
					for i := range n {
						if !seen[fmt.Sprint(prefix, i)] {
							return false
						}
					}
					return true
				}
			}
			build := func() *running {
				app := open(t, "audit", where)
				tidings.React(app, oneByOne, func(_ context.Context, e tidings.Event[order]) error {
					if e.Data.ID == "stuck" {
						return errors.New("it is stuck")
					}
					mu.Lock()
					defer mu.Unlock()
					seen[e.Data.ID] = true
					return nil
				}, tidings.Retry(tidings.Backoff(time.Second, time.Second)))
				return start(t, app)
			}
			run := build()
			shop := open(t, "shop", where)
			emit := func(id string) {
				t.Helper()
				if _, err := oneByOne.Emit(shop.Context(t.Context()), order{ID: id}); err != nil {
					t.Fatal(err)
				}
			}
			emit("stuck")
			for i := range 10 {
				emit(fmt.Sprint("kept", i))
			}
			eventually(t, "those ahead are handled", has("kept", 10))
			where.keep()
			for i := range 20 {
				emit(fmt.Sprint("lost", i))
			}
			eventually(t, "those ahead are handled", has("lost", 20))
			eventually(t, "they are marked", func() bool { return run.Stats()["audit"].Waiting <= 1 })
			if !runs {
				run.stop()
			}
			where.cut()
			shop = open(t, "shop", where)
			for i := range 20 {
				emit(fmt.Sprint("come", i))
			}
			if !runs {
				run = build()
			}
			eventually(t, "all that came are handled", has("come", 20))
			run.stop()
		})
	}
}

// A topic is kept in memory, and its broker is killed: its offsets go on far above. A reaction that has handled everything has lost
// nothing, and goes on with what comes, whether it runs meanwhile or not.
func TestAReactionOnATopicInMemoryOutlivesTheBroker(t *testing.T) {
	t.Parallel()
	for name, runs := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
			where.start(t)
			t.Cleanup(func() { where.stop(t) })
			where.create("orders", 4, "memory")
			var seen journal
			build := func() *running {
				app := open(t, "audit", where)
				tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
				return start(t, app)
			}
			emit := func(n int) {
				t.Helper()
				shop := open(t, "shop", where)
				for i := range n {
					if _, err := placed.Emit(shop.Context(t.Context()), order{ID: fmt.Sprint(i)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			run := build()
			emit(20)
			eventually(t, "the first are handled", func() bool { return seen.len() == 20 && run.Stats()["audit"].Waiting == 0 })
			if !runs {
				run.stop()
			}
			where.keep()
			where.cut()
			emit(30)
			if !runs {
				run = build()
			}
			eventually(t, "all that came are handled", func() bool { return seen.len() == 50 })
			emit(10)
			eventually(t, "what comes later is handled", func() bool { return seen.len() == 60 })
			run.stop()
		})
	}
}

// Handlers end after a copy of the log was made that has their events, and the copy is put in place while the app runs. The log has
// neither their marks nor what they have emitted: the events are handled again. A receipt of an event that the copy lacks says so, and
// others do not.
func TestWhatWasHandledAfterABackupIsHandledAgain(t *testing.T) {
	t.Parallel()
	where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
	where.start(t)
	t.Cleanup(func() { where.stop(t) })
	where.create("orders", 2, "sync")
	app := open(t, "audit", where)
	var seen journal
	gate := make(chan struct{})
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		if strings.HasPrefix(e.Data.ID, "kept") {
			<-gate
		}
		seen.note(e)
		_, err := elsewhere.Emit(ctx, e.Data)
		return err
	}, tidings.Concurrency(32))
	run := start(t, app)
	emit := func(prefix string, n int) (last tidings.Receipt) {
		t.Helper()
		for i := range n {
			receipt, err := placed.Emit(run.ctx, order{ID: fmt.Sprint(prefix, i)})
			if err != nil {
				t.Fatal(err)
			}
			last = receipt
		}
		return last
	}
	emit("first", 10)
	eventually(t, "the first are handled", func() bool { return seen.len() == 10 && run.Stats()["audit"].Waiting == 0 })
	kept := emit("kept", 10)
	where.keep()
	close(gate)
	lost := emit("lost", 10)
	eventually(t, "all are handled", func() bool { return seen.len() == 30 && run.Stats()["audit"].Waiting == 0 })
	where.cut()

	reader := open(t, "reader", where)
	var come journal
	tidings.React(reader, elsewhere, func(_ context.Context, e tidings.Event[order]) error {
		come.note(e)
		return nil
	}, tidings.FromBeginning())
	start(t, reader)
	emit("later", 10)
	eventually(t, "what follows from all events is in the log", func() bool { return come.len() == 30 })
	if err := lost.Settled(t.Context()); !errors.Is(err, tidings.ErrEventLost) {
		t.Errorf("the receipt of an event that the log has lost: %v", err)
	}
	if err := kept.Settled(t.Context()); errors.Is(err, tidings.ErrEventLost) {
		t.Errorf("the receipt of an event that the log has: %v", err)
	}
	run.stop()
}

// A copy of the log is put in place to which others have appended since, so that it is longer than the log was: handlers of events that it
// lacks end then. The events that it has at their offsets are handled, and nothing that the handlers have done counts for them.
func TestACopyThatIsLongerThanTheLogTakesNoEvents(t *testing.T) {
	t.Parallel()
	where := &cutOff{t: t, restartable: restartable{dir: t.TempDir()}}
	where.start(t)
	t.Cleanup(func() { where.stop(t) })
	where.create("orders", 2, "sync")
	var seen journal
	var begun atomic.Int64
	gate := make(chan struct{})
	react := func(app *tidings.App) {
		tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
			if strings.HasPrefix(e.Data.ID, "lost") {
				begun.Add(1)
				<-gate
			}
			seen.note(e)
			return nil
		}, tidings.Concurrency(32))
	}
	emit := func(ctx context.Context, prefix string, n int) (last tidings.Receipt) {
		t.Helper()
		for i := range n {
			receipt, err := placed.Emit(ctx, order{ID: fmt.Sprint(prefix, i)})
			if err != nil {
				t.Fatal(err)
			}
			last = receipt
		}
		return last
	}
	first := open(t, "audit", where)
	react(first)
	run := start(t, first)
	emit(run.ctx, "first", 10)
	eventually(t, "the first are handled", func() bool { return seen.len() == 10 && run.Stats()["audit"].Waiting == 0 })
	run.stop()
	where.keep()

	original := where.dir
	nextSecond()
	where.cut()
	shop := open(t, "shop", where)
	emit(shop.Context(t.Context()), "other", 40)
	where.stop(t)
	nextSecond()
	where.dir = original
	where.start(t)

	app := open(t, "audit", where)
	react(app)
	run = start(t, app)
	lost := emit(run.ctx, "lost", 10)
	eventually(t, "handlers run", func() bool { return begun.Load() == 10 })
	nextSecond()
	where.cut()
	close(gate)
	eventually(t, "all that the copy has is handled", func() bool {
		n := 0
		for _, id := range slices.Compact(slices.Sorted(slices.Values(seen.subjects()))) {
			if strings.HasPrefix(id, "order/other") {
				n++
			}
		}
		return n == 40
	})
	if err := lost.Settled(t.Context()); !errors.Is(err, tidings.ErrEventLost) {
		t.Errorf("the receipt of an event that the copy lacks: %v", err)
	}
	run.stop()
}

// nextSecond returns when a broker that starts takes a later leader epoch than any did that has started before.
func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

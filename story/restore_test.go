package story_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/backup"
	"tidings.dev/internal/vfs"
	"tidings.dev/story"
)

// site is an address at which one broker after another runs, and a store of backups.
type site struct {
	t       *testing.T
	broker  atomic.Pointer[broker.Broker]
	backups *backup.Store
}

// newSite returns a site without a broker.
func newSite(t *testing.T) *site {
	s := &site{t: t}
	store, err := backup.Create(disk(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	s.backups = store
	t.Cleanup(s.stop)
	return s
}

// disk returns the file system of a directory; it is closed at the end of the test.
func disk(t *testing.T, dir string) vfs.FS {
	t.Helper()
	d, err := vfs.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.(io.Closer).Close() })
	return d
}

// Connect implements tidings.Connection: it connects to the present broker.
func (s *site) Connect(context.Context) (*tidings.Link, error) {
	return &tidings.Link{Addresses: []string{"tidings:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if b := s.broker.Load(); b != nil {
			return b.Dial(ctx)
		}
		return nil, net.ErrClosed
	}, Close: func() error { return nil }}, nil
}

// open starts a broker on a data directory.
func (s *site) open(dir string) {
	s.t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		s.t.Fatal(err)
	}
	s.broker.Store(b)
}

// stop closes the present broker, if there is one.
func (s *site) stop() {
	if b := s.broker.Swap(nil); b != nil {
		if err := b.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// backup takes a backup of a data directory on which no broker runs.
func (s *site) backup(dir string) {
	s.t.Helper()
	source, err := backup.AtRest(s.t.Context(), dir, quiet)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.backups.Take(s.t.Context(), source.FS, source.Dir, source.Snapshot, backup.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := source.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// restored returns a new data directory, restored from the last backup.
func (s *site) restored() string {
	s.t.Helper()
	m, err := s.backups.Load("")
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	if err := s.backups.Restore(s.t.Context(), m, disk(s.t, dir), nil); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// emit places the orders from number from to number to-1.
func (s *site) emit(from, to int) {
	s.t.Helper()
	shop, stop := run(s.t, s, "shop", nil)
	defer stop()
	for i := from; i < to; i++ {
		if _, err := placed.Emit(shop.Context(s.t.Context()), order{fmt.Sprint(i)}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// handle runs a reaction to orders until stop is called.
func (s *site) handle() (stop func()) {
	_, stop = run(s.t, s, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(context.Context, tidings.Event[order]) error { return nil })
	})
	return stop
}

// warnings collects the text of a log for the test. It is safe for concurrent use.
type warnings struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

// count returns how often the text contains what.
func (w *warnings) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.b.String(), what)
}

// indexing runs an indexer that emits verdicts, until stop is called.
func (s *site) indexing(path string, log *warnings) (x *story.Indexer, stop func()) {
	s.t.Helper()
	x, err := story.Open(s.t.Context(), s, path, story.Options{Emit: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
		if err := x.Close(); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(stop)
	return x, stop
}

// is waits until the index has exactly these numbers of settled and open stories, and fails the test if it does not, or
// if the numbers change when the index has caught up with the log.
func (s *site) is(x *story.Indexer, settled, open int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if err := x.Index().Wait(ctx, func(st story.Stats) bool { return st.Settled == settled && st.Open == open }); err != nil {
		s.t.Fatalf("%v: %+v, in place of %d settled and %d open", err, x.Index().Stats(), settled, open)
	}
	if err := x.CatchUp(ctx, nil); err != nil {
		s.t.Fatal(err)
	}
	if st := x.Index().Stats(); st.Settled != settled || st.Open != open || st.Events != settled+open {
		s.t.Errorf("%+v, in place of %d settled and %d open", st, settled, open)
	}
}

// goneBack is part of the warning of an index that is built anew because its log has gone back.
const goneBack = "which has gone back"

// TestAnIndexIsBuiltAgainForARestoredLog restores a log from a backup, while the indexer is down and while it runs. The
// index must be built anew, once, and events that were not handled must not be settled.
func TestAnIndexIsBuiltAgainForARestoredLog(t *testing.T) {
	for name, running := range map[string]bool{"down": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			original, path := t.TempDir(), filepath.Join(t.TempDir(), "index")
			var log warnings
			s.open(original)
			stopHandling := s.handle()
			s.emit(0, 10)
			x, stop := s.indexing(path, &log)
			s.is(x, 10, 0)
			stopHandling()
			stop()
			s.stop()
			s.backup(original)

			s.open(original)
			x, stop = s.indexing(path, &log)
			stopHandling = s.handle()
			s.emit(10, 40)
			s.is(x, 40, 0)
			stopHandling()
			if !running {
				stop()
			}
			s.stop()
			if log.count(goneBack) > 0 {
				t.Fatalf("nothing has gone back: %s", &log.b)
			}

			s.open(s.restored())
			s.emit(100, 150) // more events than were lost, and no reaction handles them
			if !running {
				x, _ = s.indexing(path, &log)
			}
			s.is(x, 10, 50)
			if n := log.count(goneBack); n != 1 {
				t.Errorf("it is said %d times: %s", n, &log.b)
			}
			s.handle()
			s.is(x, 60, 0)
		})
	}
}

// TestAnIndexIsBuiltAgainForAnotherRestoredLog restores two logs from one backup. They have the same leader epochs and
// different records, so the index of the first must be built anew for the second.
func TestAnIndexIsBuiltAgainForAnotherRestoredLog(t *testing.T) {
	s := newSite(t)
	original, path := t.TempDir(), filepath.Join(t.TempDir(), "index")
	s.open(original)
	s.handle()()
	s.emit(0, 1)
	s.stop()
	s.backup(original)
	var log warnings
	for i, orders := range []int{20, 60} {
		s.open(s.restored())
		s.emit(1, 1+orders)
		x, stop := s.indexing(path, &log)
		s.is(x, 0, int64(1+orders))
		if n := log.count(goneBack); n != i {
			t.Errorf("it is said %d times: %s", n, &log.b)
		}
		stop()
		s.stop()
	}
}

// TestATopicIsMadeAgainWhileItsReactionIsDown deletes a topic and creates it anew while its reaction is down, with an
// indexer that runs and one that is down. The events in the new topic are owed, and their stories settle when the
// reaction is back and has handled them. The events of the old topic that were not handled are lost.
func TestATopicIsMadeAgainWhileItsReactionIsDown(t *testing.T) {
	for name, running := range map[string]bool{"the indexer runs": true, "the indexer is down": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			path := filepath.Join(t.TempDir(), "index")
			var log warnings
			s.open(t.TempDir())
			stopHandling := s.handle()
			s.emit(0, 10)
			x, stop := s.indexing(path, &log)
			s.is(x, 10, 0)
			stopHandling()
			s.emit(10, 13) // no reaction handles them
			s.is(x, 10, 3)
			if !running {
				stop()
			}
			s.deleteTopic("orders")
			s.emit(20, 40)
			if !running {
				x, _ = s.indexing(path, &log)
			}
			s.is(x, 10, 23)
			story, err := x.Story(t.Context(), "order/11", nil)
			if err != nil || story.Sentence != "order/11: lost for payment, which had not handled it when its topic was deleted." {
				t.Errorf("%+v, %v", story, err)
			}
			// a new index, which has nothing of the old topic
			fresh, _ := s.indexing(filepath.Join(t.TempDir(), "fresh"), &log)
			s.is(fresh, 0, 20)
			s.handle()
			s.is(fresh, 20, 0)
			s.is(x, 30, 3)
			if n := log.count(goneBack); n != 0 {
				t.Errorf("nothing has gone back: %s", &log.b)
			}
		})
	}
}

// deleteTopic deletes a topic.
func (s *site) deleteTopic(name string) {
	s.t.Helper()
	cl := s.client()
	if answer, err := kadm.NewClient(cl).DeleteTopic(s.t.Context(), name); err != nil || answer.Err != nil {
		s.t.Fatal(answer, err)
	}
}

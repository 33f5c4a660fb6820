package story_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/doctor"
	"tidings.dev/kgolink"
)

// TestAnIndexIsBuiltAgainAfterALostEnd starts a broker on a copy of its data directory from a moment ago, as a power cut
// leaves it that takes what was acknowledged under the durability interval or os. Other events then come at the offsets
// of the lost ones, which were handled. The index must be built anew, and must not take the new events for handled.
func TestAnIndexIsBuiltAgainAfterALostEnd(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"down": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			dir, copied, path := t.TempDir(), filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "index")
			var log warnings
			s.open(dir)
			stopHandling := s.handle()
			s.emit(0, 10)
			x, stop := s.indexing(path, &log)
			s.is(x, 10, 0)
			stopHandling()
			copyTo(t, dir, copied)
			stopHandling = s.handle()
			s.emit(10, 40)
			s.is(x, 40, 0)
			stopHandling()
			if !running {
				stop()
			}
			s.stop()

			s.open(copied)
			s.emit(100, 130) // no reaction handles them
			if !running {
				x, _ = s.indexing(path, &log)
			}
			s.is(x, 10, 30)
			if n := log.count(goneBack); n != 1 {
				t.Errorf("it is said %d times: %s", n, &log.b)
			}
			s.handle()
			s.is(x, 40, 0)
		})
	}
}

// TestARepairLosesNoHistory damages the events of a data directory, so that a repair leaves some of them out. A repair
// uses no offset twice. So an index from before still says that they were handled, an index that is built anew does not
// know them, and both say that the events which come after the repair are owed.
func TestARepairLosesNoHistory(t *testing.T) {
	for name, running := range map[string]bool{"down": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			dir, path := t.TempDir(), filepath.Join(t.TempDir(), "index")
			var log warnings
			s.open(dir)
			stopHandling := s.handle()
			s.emit(0, 40)
			x, stop := s.indexing(path, &log)
			s.is(x, 40, 0)
			stopHandling()
			if !running {
				stop()
			}
			s.stop()
			damageEvents(t, dir, "order/2") // order/2, and order/20 to order/29
			_, repaired, err := doctor.RepairDir(dir)
			if err != nil || repaired == nil {
				t.Fatalf("%+v, %v", repaired, err)
			}

			s.open(dir)
			s.emit(100, 130) // no reaction handles them
			left := s.events("orders") - 30
			if left <= 0 || left >= 40 {
				t.Fatalf("%d of 40 events are left", left)
			}
			if !running {
				x, _ = s.indexing(path, &log)
			}
			s.is(x, 40, 30)
			fresh, _ := s.indexing(filepath.Join(t.TempDir(), "fresh"), &log)
			s.is(fresh, left, 30)
			s.handle()
			s.is(x, 70, 0)
			s.is(fresh, left+30, 0)
			if n := log.count(goneBack); n != 0 {
				t.Errorf("nothing has gone back: %s", &log.b)
			}
		})
	}
}

// damageEvents changes a byte of each event about a subject that begins with a prefix, wherever a data directory has it.
func damageEvents(t *testing.T, dir, prefix string) {
	t.Helper()
	damaged := 0
	eachFile(t, dir, func(name string, b []byte) {
		harmed := bytes.ReplaceAll(b, []byte(prefix), append([]byte{prefix[0] ^ 0xff}, prefix[1:]...))
		if bytes.Equal(b, harmed) {
			return
		}
		damaged++
		if err := os.WriteFile(filepath.Join(dir, name), harmed, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if damaged == 0 {
		t.Fatalf("no file has %q", prefix)
	}
}

// eachFile calls do with the name and the content of each regular file in a directory.
func eachFile(t *testing.T, dir string, do func(name string, b []byte)) {
	t.Helper()
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		if err == nil {
			do(name, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// client returns a client of the site, which is closed at the end of the test.
func (s *site) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	link, err := s.Connect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(kgolink.Options(link), opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	return cl
}

// events returns the number of records of a topic. The last record of each partition must be there.
func (s *site) events(topic string) (n int64) {
	s.t.Helper()
	cl := s.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(s.t.Context(), topic)
	if err != nil {
		s.t.Fatal(err)
	}
	left := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(s.t.Context())
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			if r.Offset == left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return n
}

// TestHandlersOfLostEventsMarkNoOthers has handlers run while the end of the log is lost, with the events that they handle. What they
// write of them afterwards must not count for the events that come at the same offsets: neither for the instance that goes on,
// nor for one that takes over, nor for the story.
func TestHandlersOfLostEventsMarkNoOthers(t *testing.T) {
	t.Parallel()
	for name, goesOn := range map[string]bool{"the instance goes on": true, "another takes over": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
			var log warnings
			s.open(dir)
			interval := "interval" // a power cut may take what was acknowledged last
			if _, err := kadm.NewClient(s.client()).CreateTopic(t.Context(), 2, 1, map[string]*string{"tidings.durability": &interval}, "orders"); err != nil {
				t.Fatal(err)
			}
			stopHandling := s.handle()
			s.emit(0, 10)
			x, _ := s.indexing(filepath.Join(t.TempDir(), "index"), &log)
			s.is(x, 10, 0)
			stopHandling()
			copyTo(t, dir, copied)
			var blocked atomic.Bool
			blocked.Store(true)
			running, proceed := make(chan struct{}, 100), make(chan struct{})
			var handled handledOrders
			handle := func(a *tidings.App) {
				tidings.React(a, placed, func(_ context.Context, e tidings.Event[order]) error {
					if blocked.Load() {
						running <- struct{}{}
						<-proceed
					}
					handled.add(e.Data.No)
					return nil
				}, tidings.Concurrency(30))
			}
			_, stop := run(t, s, "payment", handle)
			s.emit(10, 40)
			for range 30 {
				<-running
			}
			s.stop()
			s.open(copied)
			blocked.Store(false)
			close(proceed)
			if !goesOn {
				stop()
			}
			s.emit(100, 200)
			if !goesOn {
				settles := tidings.Define[order]("story_test.noted", tidings.In("notes"))
				shop, stopShop := run(t, s, "notes", nil)
				if _, err := settles.Emit(shop.Context(t.Context()), order{"1"}); err != nil { // to know that the index judges
					t.Fatal(err)
				}
				stopShop()
				s.is(x, 11, 100)
				_, stop = run(t, s, "payment", handle)
				defer stop()
			}
			settled := int64(110)
			if !goesOn {
				settled++ // the note
			}
			s.is(x, settled, 0)
			if n := handled.from(100); n != 100 {
				t.Errorf("%d of 100 events are handled", n)
			}
		})
	}
}

// TestAPositionAboveALostEndGoesBack loses the end of a log, but not the positions that were committed in it, as when a commit comes
// after the restart. The events that come in place of the lost ones must be handled, also if they are more than those.
func TestAPositionAboveALostEndGoesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	s.open(dir)
	interval := "interval"
	if _, err := kadm.NewClient(s.client()).CreateTopic(t.Context(), 2, 1, map[string]*string{"tidings.durability": &interval}, "orders"); err != nil {
		t.Fatal(err)
	}
	stopHandling := s.handle()
	s.emit(0, 10)
	stopHandling()
	copyTo(t, dir, copied)
	stopHandling = s.handle()
	s.emit(10, 40)
	stopHandling()
	committed, err := kadm.NewClient(s.client()).FetchOffsets(t.Context(), "payment")
	if err != nil {
		t.Fatal(err)
	}
	s.stop()

	s.open(copied)
	late := make(kadm.Offsets)
	committed.Each(func(o kadm.OffsetResponse) {
		if o.LeaderEpoch < 0 {
			t.Errorf("the position %d of partition %d was committed without a leader epoch", o.At, o.Partition)
		}
		late.Add(o.Offset)
	})
	if err := kadm.NewClient(s.client()).CommitAllOffsets(t.Context(), "payment", late); err != nil {
		t.Fatal(err)
	}
	s.emit(100, 200)
	var handled handledOrders
	_, stop := run(t, s, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(_ context.Context, e tidings.Event[order]) error { handled.add(e.Data.No); return nil })
	})
	defer stop()
	for range 1000 {
		if handled.from(100) == 100 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := handled.from(100); n != 100 {
		t.Errorf("%d of 100 events are handled", n)
	}
}

// copyTo copies the files of a directory to another one, which it creates.
func copyTo(t *testing.T, from, to string) {
	t.Helper()
	eachFile(t, from, func(name string, b []byte) {
		file := filepath.Join(to, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	})
}

// handledOrders is the set of the orders that were handled. It is safe for concurrent use.
type handledOrders struct {
	mu     sync.Mutex
	orders map[string]bool
}

func (h *handledOrders) add(no string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.orders == nil {
		h.orders = make(map[string]bool)
	}
	h.orders[no] = true
}

// from returns how many orders with a number from first on were handled.
func (h *handledOrders) from(first int) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for no := range h.orders {
		if i, err := strconv.Atoi(no); err == nil && i >= first {
			n++
		}
	}
	return n
}

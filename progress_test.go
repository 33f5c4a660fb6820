package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// single is a fact on a topic of one partition.
var single = tidings.Define[order]("test.single.placed", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))

// handledOnce counts how often each event was handled, and in which part of a test.
type handledOnce struct {
	mu   sync.Mutex
	part string
	runs map[string][]string // by event id: the parts in which it was handled
}

func (h *handledOnce) begin(part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.part = part
}

func (h *handledOnce) add(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runs == nil {
		h.runs = make(map[string][]string)
	}
	h.runs[id] = append(h.runs[id], h.part)
}

func (h *handledOnce) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.runs)
}

// twice returns how many events were handled more than once, by the parts in which they were.
func (h *handledOnce) twice() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := make(map[string]int)
	for _, parts := range h.runs {
		if len(parts) > 1 {
			n[strings.Join(parts, ", then ")]++
		}
	}
	return n
}

// So many subjects are stuck, scattered over a partition, that what is done ahead of them does not fit into the metadata of a
// commit. All others go on. After a stop, and after a crash in which everything was marked, nothing is handled again.
func TestManyStuckSubjectsHoldUpNobodyAndRepeatNothing(t *testing.T) {
	t.Parallel()
	const stuck, events = 1700, 6000
	where := keep(t)
	var handled handledOnce
	handled.begin("first")
	var mended atomic.Bool
	service := func() *tidings.App {
		app := open(t, "payment", where)
		tidings.React(app, single, func(_ context.Context, e tidings.Event[order]) error {
			if !mended.Load() && e.Data.Seq < 0 {
				return errors.New("the card terminal is down")
			}
			handled.add(e.ID)
			return nil
		}, tidings.Retry(tidings.Backoff(time.Minute, time.Minute)))
		return app
	}
	run := start(t, service())
	emit := func(from, to int, mayBeStuck bool) {
		var group sync.WaitGroup
		for worker := range 16 {
			group.Go(func() {
				for i := from + worker; i < to; i += 16 {
					o := order{ID: fmt.Sprint(i), Seq: i + 1}
					if mayBeStuck && i*stuck/events != (i+1)*stuck/events {
						o.Seq = -1
					}
					if _, err := single.Emit(run.ctx, o); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
	emit(0, events, true)
	eventually(t, "all others are handled", func() bool { return handled.len() == events-stuck })

	// Case: a stop in order.
	run.stop()
	handled.begin("after the stop")
	run = start(t, service())
	emit(events, events+500, false)
	eventually(t, "new ones are handled", func() bool { return handled.len() == events-stuck+500 })

	// Case: a crash after a round that has marked everything, and long before progress is written again.
	eventually(t, "all is marked", func() bool { return size(marked(t, where)) == events-stuck+500 })
	if err := run.Abort(); err != nil {
		t.Fatal(err)
	}
	mended.Store(true)
	handled.begin("after the crash")
	run = start(t, service())
	eventually(t, "the stuck ones are handled", func() bool { return handled.len() == events+500 })
	if twice := handled.twice(); len(twice) > 0 {
		t.Errorf("events were handled again: %v", twice)
	}
}

// The positions of a group are deleted, as they are when they expire. The reaction goes on after what it has marked.
func TestExpiredPositionsRepeatNothing(t *testing.T) {
	where := keep(t)
	var handled handledOnce
	var down atomic.Bool
	down.Store(true)
	service := func() *running {
		app := open(t, "payment", where)
		tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
			if down.Load() && e.Data.ID == "7" {
				return errors.New("down")
			}
			handled.add(e.ID)
			return nil
		}, tidings.FromBeginning())
		return start(t, app)
	}
	run := service()
	for i := range 100 {
		run.emit(placed, order{ID: fmt.Sprint(i)})
	}
	eventually(t, "all but one are handled", func() bool { return handled.len() == 99 })
	run.stop()
	if _, err := kadm.NewClient(client(t, where)).DeleteGroups(t.Context(), "payment"); err != nil {
		t.Fatal(err)
	}
	down.Store(false)
	run = service()
	eventually(t, "the last one is handled", func() bool { return handled.len() == 100 })
	run.emit(placed, order{ID: "new"})
	eventually(t, "a new one is handled", func() bool { return handled.len() == 101 })
	if twice := handled.twice(); len(twice) > 0 {
		t.Errorf("events were handled again: %v", twice)
	}
}

// Somebody moves the position over one event that is stuck. What was done ahead of it stays done.
func TestASeekOverAStuckEventRepeatsNothing(t *testing.T) {
	where := keep(t)
	var handled handledOnce
	service := func() *running {
		app := open(t, "payment", where)
		tidings.React(app, single, func(_ context.Context, e tidings.Event[order]) error {
			if e.Data.ID == "3" {
				return errors.New("poison")
			}
			handled.add(e.ID)
			return nil
		})
		return start(t, app)
	}
	run := service()
	for i := range 10 {
		run.emit(single, order{ID: fmt.Sprint(i)})
	}
	eventually(t, "all but one are handled", func() bool { return handled.len() == 9 })
	run.stop()
	var to kadm.Offsets
	to.AddOffset("single", 0, 4, -1)
	if err := kadm.NewClient(client(t, where)).CommitAllOffsets(t.Context(), "payment", to); err != nil {
		t.Fatal(err)
	}
	run = service()
	run.emit(single, order{ID: "new"})
	eventually(t, "a new one is handled", func() bool { return handled.len() == 10 })
	if twice := handled.twice(); len(twice) > 0 {
		t.Errorf("events were handled again: %v", twice)
	}
}

// How often an event has failed, and since when, survives a restart.
func TestAttemptsAreCountedAcrossRestarts(t *testing.T) {
	where := keep(t)
	service := func() *running {
		app := open(t, "payment", where)
		tidings.React(app, single, func(context.Context, tidings.Event[order]) error { return errors.New("down") },
			tidings.Retry(tidings.Backoff(2*time.Second, 2*time.Second)))
		return start(t, app)
	}
	retrying := func() []*obligation.Retrying {
		return facts[*obligation.Retrying](t, where, obligation.ReactionsTopic)
	}
	run := service()
	run.emit(single, order{ID: "1"})
	eventually(t, "an attempt has failed", func() bool { return len(retrying()) > 0 })
	run.stop()
	run = service()
	eventually(t, "another one has", func() bool { return len(retrying()) > 1 })
	run.stop()
	first, second := retrying()[0], retrying()[1]
	if second.Attempt != first.Attempt+1 || first.First.IsZero() || !second.First.Equal(first.First) || !second.At.After(first.At) {
		t.Errorf("%+v, and after a restart %+v", first, second)
	}
}

// Marks are durable and the commit of their position is not, when the process dies: what is marked may already be in a story that
// has settled. It is not handled again.
func TestWhatIsMarkedIsNotHandledAgain(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	handled := make(chan int64, 100) // offsets
	service := func() *running {
		app := open(t, "payment", network)
		tidings.React(app, single, func(_ context.Context, e tidings.Event[order]) error {
			handled <- e.Offset
			return nil
		})
		return start(t, app)
	}
	run := service()
	run.emit(single, order{ID: "committed"})
	<-handled
	admin := kadm.NewClient(client(t, where))
	eventually(t, "its position is committed", func() bool {
		committed, err := admin.FetchOffsets(t.Context(), "payment")
		at, _ := committed.Lookup("single", 0)
		return err == nil && at.At == 1
	})
	network.loseKey(keyOffsetCommit)
	for i := range 20 {
		run.emit(single, order{ID: fmt.Sprint(i)})
		<-handled
	}
	var before offsets.Set
	eventually(t, "a round has its marks", func() bool { before = marked(t, where); return size(before) > 1 })
	if err := run.Abort(); err != nil {
		t.Fatal(err)
	}
	network.lost.Store(-1)
	before = marked(t, where)
	run = service()
	run.emit(single, order{ID: "new"})
	for offset := range handled {
		if before.Contains(offset) {
			t.Errorf("offset %d is marked, and is handled again", offset)
		}
		if offset == 21 {
			break
		}
	}
}

// marked returns the offsets that marks name; all must be of one partition. A round that was not committed is marked again.
func marked(t *testing.T, where tidings.Connection) (done offsets.Set) {
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		for _, r := range m.Done {
			done.Add(r.Lo, r.Hi)
		}
	}
	return done
}

// size returns the number of offsets in a set.
func size(set offsets.Set) (n int64) {
	for _, r := range set.Ranges() {
		n += r.Hi - r.Lo
	}
	return n
}

package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
)

// Payment handles events and what it emits is durable, but it ends before it can mark them. The next instance handles the
// same events again and emits the same ids, so email, which listens downstream, handles each capture once.
func TestACrashBetweenHandlingAndMarkRepeatsTheSameIDs(t *testing.T) {
	t.Parallel()
	where := keep(t)
	var runs atomic.Int32
	capture := func(ctx context.Context, e tidings.Event[order]) error {
		runs.Add(1)
		_, err := captured.Emit(ctx, e.Data)
		return err
	}
	dying := open(t, "payment", where)
	tidings.React(dying, placed, capture, tidings.Concurrency(10))
	died := make(chan error, 1)
	go func() { died <- dying.Run(t.Context()) }()
	<-dying.Ready()

	setLimit(t, where, obligation.ReactionsTopic, "100") // marks are refused
	for i := range 10 {
		if _, err := placed.Emit(dying.Context(t.Context()), order{ID: fmt.Sprint(i)}); err != nil {
			break // it has died: others are emitted by the next
		}
	}
	if err := <-died; err == nil || !strings.Contains(err.Error(), "marks") {
		t.Fatalf("payment ends by %v", err)
	}
	setLimit(t, where, obligation.ReactionsTopic, "1048588")
	first := int(runs.Load())

	again := open(t, "payment", where)
	tidings.React(again, placed, capture)
	second := start(t, again)
	emitted, _ := ofTypes(t, where)
	eventually(t, "the events are handled again", func() bool { return int(runs.Load()) == first+emitted })
	second.stop()
	_, captures := ofTypes(t, where)

	var mails journal
	email := open(t, "email", where)
	tidings.React(email, captured, func(_ context.Context, e tidings.Event[order]) error { mails.note(e); return nil }, tidings.FromBeginning())
	downstream := start(t, email)
	eventually(t, "the mails are out", func() bool { return mails.len() == emitted })
	eventually(t, "the copies are dropped", func() bool { return int(downstream.Stats()["email"].Duplicates) == len(captures)-emitted })
	downstream.stop()
	if n := mails.len(); n != emitted || len(captures) == emitted {
		t.Errorf("%d mails of %d events, which were captured %d times", n, emitted, len(captures))
	}
	slices.Sort(captures)
	if ids := slices.Compact(captures); len(ids) != emitted {
		t.Errorf("%d ids: %v", len(ids), ids)
	}
}

// ofTypes returns how many orders were placed, and the ids of all records of captures.
func ofTypes(t *testing.T, where tidings.Connection) (orders int, captures []string) {
	for _, r := range dump(t, where, "orders") {
		switch header(r, cloudevent.HeaderType) {
		case placed.Name():
			orders++
		case captured.Name():
			captures = append(captures, header(r, cloudevent.HeaderID))
		}
	}
	return orders, captures
}

// One event fails for long; those of other subjects go on. A restart in between handles none of them again, because what
// was done ahead of the position is kept with it.
func TestWhatWasDoneAheadSurvivesARestart(t *testing.T) {
	where := keep(t)
	one := tidings.Define[order]("test.one.happened", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))
	var broken atomic.Bool
	broken.Store(true)
	var mu sync.Mutex
	runs := map[string]int{}
	handler := func(_ context.Context, e tidings.Event[order]) error {
		if e.Data.ID == "stuck" && broken.Load() {
			return errors.New("not yet")
		}
		mu.Lock()
		defer mu.Unlock()
		runs[fmt.Sprint(e.Data.ID, e.Data.Seq)]++
		return nil
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(runs) }

	app := open(t, "warehouse", where)
	tidings.React(app, one, handler, tidings.Retry(tidings.Backoff(5*time.Millisecond, 10*time.Millisecond)))
	run := start(t, app)
	run.emit(one, order{"stuck", 1})
	for i := range 50 {
		run.emit(one, order{fmt.Sprint("o", i), 1})
		if i%10 == 0 {
			run.emit(one, order{"stuck", 2 + i/10})
		}
	}
	eventually(t, "the others are done", func() bool { return count() == 50 })
	run.stop()

	app = open(t, "warehouse", where)
	tidings.React(app, one, handler, tidings.Retry(tidings.Backoff(5*time.Millisecond, 10*time.Millisecond)))
	run = start(t, app)
	run.emit(one, order{"new", 1})
	eventually(t, "a new one is done", func() bool { return count() == 51 })
	if s := run.Stats()["warehouse"]; s.Handled != 1 || s.Waiting != 6 {
		t.Errorf("after the restart: %+v", s)
	}
	broken.Store(false)
	eventually(t, "the stuck subject is through", func() bool { return count() == 57 })
	run.stop()
	for what, n := range runs {
		if n != 1 {
			t.Errorf("%s was handled %d times", what, n)
		}
	}

	// The marks tell each offset once, and end at the position.
	var told []int64
	last := int64(0)
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		for _, r := range m.Done {
			for o := r.Lo; o < r.Hi; o++ {
				told = append(told, o)
			}
		}
		last = m.Position
	}
	slices.Sort(told)
	if len(told) != 57 || len(slices.Compact(told)) != 57 || last != 57 {
		t.Errorf("marks tell %d offsets and end at %d", len(told), last)
	}
}

// A copy of an event arrives after a restart: its id is remembered from the log itself.
func TestACopyIsToldAcrossARestart(t *testing.T) {
	where := keep(t)
	var seen journal
	handler := func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }
	for round := range 3 {
		app := open(t, "loyalty", where)
		tidings.React(app, placed, handler)
		run := start(t, app)
		run.emit(placed, order{"1", 1}, tidings.ID("the-one"))
		run.emit(placed, order{"1", round + 2})
		eventually(t, "the new one is handled", func() bool { return seen.len() == round+2 })
		run.stop()
		if s := run.Stats()["loyalty"]; round > 0 && s.Duplicates != 1 {
			t.Errorf("round %d: %+v", round, s)
		}
	}
	seen.ordered(t)
	var dropped int
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		dropped += len(m.Copies)
	}
	if dropped != 2 {
		t.Errorf("marks tell %d copies", dropped)
	}
}

// Stopping lets running handlers finish; what they emit is sent, and their positions are committed.
func TestStoppingDrains(t *testing.T) {
	where := keep(t)
	started, finish := make(chan struct{}, 2), make(chan struct{})
	var runs atomic.Int32
	handler := func(ctx context.Context, e tidings.Event[order]) error {
		runs.Add(1)
		started <- struct{}{}
		<-finish
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := captured.Emit(ctx, e.Data)
		return err
	}
	app := open(t, "payment", where)
	tidings.React(app, placed, handler)
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	run.emit(placed, order{ID: "2"})
	<-started
	<-started
	go func() {
		time.Sleep(50 * time.Millisecond)
		close(finish)
	}()
	run.stop()
	if n := len(dump(t, where, "orders")); n != 4 {
		t.Errorf("%d records on the topic, want 2 orders and 2 captures", n)
	}

	app = open(t, "payment", where)
	tidings.React(app, placed, handler)
	run = start(t, app)
	run.emit(placed, order{ID: "3"})
	eventually(t, "only the new one runs", func() bool { return run.Stats()["payment"].Handled == 1 })
	run.stop()
	if n := runs.Load(); n != 3 {
		t.Errorf("%d runs", n)
	}
}

// A rolling restart: the next instance joins while handlers of the last one run, which is asked to stop. The group moves its
// partitions; the handlers finish all the same, none of them is cancelled, and no event runs in both instances.
func TestARollingRestartLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	where := dynamic{keep(t)}
	const events = 8
	var running, twice, cancelled atomic.Int32
	started, finish := make(chan struct{}, events), make(chan struct{})
	var seen journal
	instance := func() *tidings.App {
		app := open(t, "payment", where)
		tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
			running.Add(1)
			defer running.Add(-1)
			started <- struct{}{}
			select {
			case <-finish:
			case <-ctx.Done():
				cancelled.Add(1)
				return ctx.Err()
			}
			seen.note(e)
			return nil
		})
		return app
	}
	last := start(t, instance())
	for i := range events {
		last.emit(placed, order{fmt.Sprint(i), 1})
		<-started
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		last.stop()
	}()
	next := start(t, instance()) // so the last one has joined the new generation, and knows what it loses
	deadline := time.After(1500 * time.Millisecond)
	for over := false; !over; {
		select {
		case <-started:
			twice.Add(1)
		case <-deadline:
			over = true
		}
	}
	if n := cancelled.Load(); n > 0 || twice.Load() > 0 || running.Load() != events {
		t.Errorf("%d handlers were cancelled, %d events run twice, %d run", n, twice.Load(), running.Load())
	}
	close(finish)
	<-stopped
	if n := next.Stats()["payment"].Handled; n != 0 || seen.len() != events {
		t.Errorf("%d events were handled, %d of them again", seen.len(), n)
	}
	next.emit(placed, order{"0", 2})
	eventually(t, "the next instance has the partitions", func() bool { return next.Stats()["payment"].Handled == 1 })
	next.stop()
	seen.ordered(t)
}

// A handler that does not end holds up the stop for the drain timeout and no longer; its event is handled again.
func TestAStuckHandlerIsCancelledWhenDrainingTakesTooLong(t *testing.T) {
	where := keep(t)
	cancelled := make(chan struct{})
	app := open(t, "payment", where, tidings.DrainTimeout(30*time.Millisecond))
	entered := make(chan struct{})
	tidings.React(app, placed, func(ctx context.Context, _ tidings.Event[order]) error {
		close(entered)
		<-ctx.Done()
		close(cancelled)
		return ctx.Err()
	})
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	<-entered
	run.stop()
	<-cancelled

	var seen journal
	app = open(t, "payment", where)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
	run = start(t, app)
	eventually(t, "it is handled", func() bool { return seen.len() == 1 })
	run.stop()
}

// An app is aborted while a handler runs that does not end, and emissions wait for a log that is away: Run returns, and
// so does a Close that drains already. The next instance handles again what was not done.
func TestAbortWaitsForNothing(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	app := open(t, "payment", network, tidings.Instance("blue"), tidings.DrainTimeout(time.Hour))
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		if e.Data.ID == "stuck" {
			close(entered)
			<-release
			return ctx.Err()
		}
		_, err := captured.Emit(ctx, e.Data)
		return err
	})
	run := start(t, app)
	network.refuseKeys(keyProduce)
	shop := open(t, "shop", where)
	for _, id := range []string{"stuck", "waits"} {
		if _, err := placed.Emit(shop.Context(t.Context()), order{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	eventually(t, "an emission waits for the log", func() bool { return network.refused.Load() > 0 })
	network.down.Store(true)
	waiting, drained := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := placed.Emit(run.ctx, order{ID: "late"})
		waiting <- err
	}()
	go func() { drained <- app.Close() }()
	if err := app.Abort(); err != nil {
		t.Error(err)
	}
	run.stop()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("the emission that waited: %v", err)
	}

	var seen journal
	app = open(t, "payment", where, tidings.Instance("blue"))
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
	run = start(t, app)
	eventually(t, "both are handled", func() bool { return seen.len() == 2 })
	run.stop()
}

// An app is stopped in order or aborted, at random moments, while orders flow: whoever listens downstream sees each
// capture once, and each order's captures in order.
func TestRandomStops(t *testing.T) {
	t.Parallel()
	const stops = 40
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TIDINGS_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedule of goroutines differs): TIDINGS_TEST_SEED=%d go test . -run TestRandomStops", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 1))
	where := keep(t)
	var mails journal
	email := open(t, "email", where)
	tidings.React(email, captured, func(_ context.Context, e tidings.Event[order]) error { mails.note(e); return nil }, tidings.FromBeginning())
	downstream := start(t, email)
	shop := open(t, "shop", where)
	ctx := shop.Context(t.Context())
	var emitted atomic.Int32
	var enough atomic.Bool
	var customers sync.WaitGroup
	for i := range 8 {
		customers.Go(func() {
			for seq := 1; !enough.Load(); seq++ {
				if _, err := placed.Emit(ctx, order{fmt.Sprint(i), seq}); err != nil {
					t.Error(err)
					return
				}
				emitted.Add(1)
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	for range stops {
		app, err := payment(where)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- app.Run(context.Background()) }()
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		end := app.Close
		if rng.IntN(2) == 0 {
			end = app.Abort
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil && !errors.Is(err, tidings.ErrClosed) { // it may have ended before it ran
			t.Error(err)
		}
	}
	enough.Store(true)
	customers.Wait()
	app, err := payment(where)
	if err != nil {
		t.Fatal(err)
	}
	last := start(t, app)
	eventually(t, "all captures are there", func() bool { return mails.len() >= int(emitted.Load()) })
	last.stop()
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	downstream.stop()
	if n := mails.len(); n != int(emitted.Load()) {
		t.Errorf("%d captures of %d orders", n, emitted.Load())
	}
	mails.ordered(t)
}

// Instances come and go while facts flow: each fact is handled once, each order's facts in order.
func TestInstancesShareTheEventsOfAReaction(t *testing.T) {
	t.Parallel()
	t.Run("static", func(t *testing.T) { t.Parallel(); shareEvents(t, keep(t)) })
	t.Run("dynamic", func(t *testing.T) { t.Parallel(); shareEvents(t, dynamic{keep(t)}) })
}

func shareEvents(t *testing.T, where tidings.Connection) {
	var seen journal
	instance := func() *tidings.App {
		app := open(t, "warehouse", where)
		tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
			time.Sleep(100 * time.Microsecond)
			seen.note(e)
			return nil
		})
		return app
	}
	first := start(t, instance())
	const orders = 40
	var emitters sync.WaitGroup
	var enough atomic.Bool
	var emitted atomic.Int32
	shop := open(t, "shop", where)
	ctx := shop.Context(t.Context())
	for i := range orders {
		emitters.Go(func() {
			for seq := 1; !enough.Load(); seq++ {
				if _, err := placed.Emit(ctx, order{fmt.Sprint(i), seq}); err != nil {
					t.Error(err)
					return
				}
				emitted.Add(1)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	second := begin(t, instance())
	eventually(t, "the second instance gets a share", func() bool { return second.Stats()["warehouse"].Handled > 0 })
	third := begin(t, instance())
	first.stop()
	eventually(t, "the third instance gets a share", func() bool { return third.Stats()["warehouse"].Handled > 0 })
	second.stop()
	time.Sleep(50 * time.Millisecond)
	enough.Store(true)
	emitters.Wait()
	eventually(t, "all are handled", func() bool { return seen.len() >= int(emitted.Load()) })
	third.stop()
	if n := seen.len(); n != int(emitted.Load()) {
		t.Errorf("%d handled, want %d", n, emitted.Load())
	}
	seen.ordered(t)
}

// An instance dies without leaving. With a name that it keeps, it takes up its partitions as soon as it is back.
func TestANamedInstanceIsBackAtOnceAfterAKill(t *testing.T) {
	t.Parallel()
	where := keep(t)
	network := &faulty{Connection: where}
	var seen journal
	handler := func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }
	app := open(t, "payment", network, tidings.Instance("blue"), tidings.DrainTimeout(time.Millisecond))
	tidings.React(app, placed, handler)
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	eventually(t, "it is handled", func() bool { return seen.len() == 1 })
	network.refuseKeys(keyLeaveGroup)
	run.stop()

	begun := time.Now()
	app = open(t, "payment", where, tidings.Instance("blue"))
	tidings.React(app, placed, handler)
	run = start(t, app)
	run.emit(placed, order{ID: "2"})
	eventually(t, "the next one is handled", func() bool { return seen.len() == 2 })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("back after %v", took)
	}
	run.stop()
}

// Somebody moves the position with a tool that knows nothing of reactions. The move is written down, and what lies
// behind the new position is handled again, under a new epoch.
func TestAMovedPositionIsObeyedAndWrittenDown(t *testing.T) {
	where := keep(t)
	one := tidings.Define[order]("test.one.happened", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))
	var seen journal
	handler := func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }
	run := func(until int) {
		app := open(t, "audit", where)
		tidings.React(app, one, handler)
		r := start(t, app)
		if until == 5 {
			for i := range 5 {
				r.emit(one, order{ID: fmt.Sprint(i)})
			}
		}
		eventually(t, "events are handled", func() bool { return seen.len() == until })
		r.stop()
	}
	move := func(to int64) {
		var o kadm.Offsets
		o.AddOffset("single", 0, to, -1)
		if err := kadm.NewClient(client(t, where)).CommitAllOffsets(t.Context(), "audit", o); err != nil {
			t.Fatal(err)
		}
	}
	run(5)
	move(2)
	run(8)
	move(4)
	run(9)
	run(9) // nothing moved: nothing is handled again

	var epochs, sought []int64
	for _, r := range dump(t, where, obligation.ReactionsTopic) {
		f, err := obligation.Decode(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *obligation.Seek:
			sought = append(sought, f.From, f.To, f.Epoch)
		case *obligation.Marks:
			epochs = append(epochs, f.Epoch)
		}
	}
	if want := []int64{5, 2, 1, 5, 4, 2}; !slices.Equal(sought, want) {
		t.Errorf("seeks (from, to, epoch): %v, want %v", sought, want)
	}
	if got := slices.Compact(epochs); !slices.Equal(got, []int64{0, 1, 2}) {
		t.Errorf("epochs of the marks: %v", epochs)
	}
}

// A state is folded from history when the reaction starts, up to where it stood, and nothing of history is reacted to
// again.
func TestStatesAreRebuiltFromHistory(t *testing.T) {
	where := keep(t)
	type parcel struct{ Paid, Placed, Sent int }
	var reacted atomic.Int32
	instance := func() (*tidings.App, *tidings.States[parcel]) {
		app := open(t, "warehouse", where)
		states := tidings.ReactWith(app, tidings.Facts(placed, captured, shipped), func(p *parcel, e tidings.Any) {
			switch e.Type {
			case placed.Name():
				p.Placed++
			case captured.Name():
				p.Paid++
			case shipped.Name():
				p.Sent++
			}
		}, func(ctx context.Context, p parcel, e tidings.Any) error {
			reacted.Add(1)
			if p.Placed != 1 || p.Paid != 1 || p.Sent != 0 {
				return nil
			}
			o, ok, err := captured.From(e)
			if !ok || err != nil {
				return err
			}
			_, err = shipped.Emit(ctx, o.Data)
			return err
		})
		return app, states
	}
	app, states := instance()
	run := start(t, app)
	for i := range 20 {
		run.emit(placed, order{ID: fmt.Sprint(i)})
	}
	for i := range 10 {
		run.emit(captured, order{ID: fmt.Sprint(i)})
	}
	eventually(t, "what is placed and paid is shipped", func() bool { return run.Stats()["warehouse"].Handled == 40 })
	run.stop()
	if states.Len() != 0 {
		t.Errorf("%d states are left after the partitions are gone", states.Len())
	}

	app, states = instance()
	run = start(t, app)
	all := maps.Collect(states.All())
	if len(all) != 20 || all["order/3"] != (parcel{1, 1, 1}) || all["order/15"] != (parcel{Placed: 1}) {
		t.Errorf("rebuilt when ready: %v", all)
	}
	run.emit(captured, order{ID: "15"})
	eventually(t, "the late one is shipped", func() bool { p, _ := states.Get("order/15"); return p == parcel{1, 1, 1} })
	eventually(t, "it is done", func() bool { return run.Stats()["warehouse"].Handled == 2 })
	run.stop()
	if n := reacted.Load(); n != 42 {
		t.Errorf("%d reactions, want 42", n)
	}
}

// A state over two topics is whole before anything new is handled.
func TestStatesOverTwoTopics(t *testing.T) {
	where := keep(t)
	left := tidings.Define[order]("test.left.happened", tidings.In("left", tidings.Partitions(3)), tidings.Subject(about))
	right := tidings.Define[order]("test.right.happened", tidings.In("right", tidings.Partitions(3)), tidings.Subject(about))
	uneven := tidings.Define[order]("test.uneven.happened", tidings.In("uneven", tidings.Partitions(2)), tidings.Subject(about))
	type sum struct{ Left, Right int }
	fold := func(s *sum, e tidings.Any) {
		if e.Topic == "left" {
			s.Left++
		} else {
			s.Right++
		}
	}
	var short atomic.Int32
	for round := range 2 {
		app := open(t, "sums", where)
		states := tidings.ReactWith(app, tidings.Facts(left, right), fold, func(_ context.Context, s sum, e tidings.Any) error {
			if round == 1 && (s.Left < 10 || s.Right < 10) {
				short.Add(1)
			}
			return nil
		})
		run := start(t, app)
		for range 10 {
			for i := range 6 {
				run.emit(left, order{ID: fmt.Sprint(i)})
				run.emit(right, order{ID: fmt.Sprint(i)})
			}
		}
		eventually(t, "all are folded", func() bool { return run.Stats()["sums"].Handled == 120 })
		if got, _ := states.Get("order/3"); got != (sum{10 * (round + 1), 10 * (round + 1)}) {
			t.Errorf("round %d: %v", round, got)
		}
		run.stop()
	}
	if short.Load() > 0 {
		t.Errorf("%d events were handled with a state that lacked history", short.Load())
	}

	app := open(t, "uneven", where)
	tidings.ReactWith(app, tidings.Facts(left, uneven), fold, nil)
	if err := app.Run(t.Context()); err == nil {
		t.Error("a state over topics of 3 and 2 partitions was accepted")
	}
}

// What people have to say about an event may be of any size: it is cut, and neither the reason of a skip nor an error can make
// a record too large for the log. Case: also one of 64 KiB in a topic that takes less.
func TestWhatIsSaidOfAnEventNeverStopsAReaction(t *testing.T) {
	where := keep(t)
	small := map[string]*string{"max.message.bytes": kadm.StringPtr("6000")}
	if _, err := kadm.NewClient(client(t, where)).CreateTopic(t.Context(), 1, 1, small, obligation.ReactionsTopic); err != nil {
		t.Fatal(err)
	}
	app := open(t, "payment", where)
	var failed atomic.Bool
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		if e.Data.ID == "2" && !failed.Swap(true) {
			return errors.New(strings.Repeat("wrong ", 1<<18))
		}
		if e.Data.ID == "1" {
			return tidings.Skip(strings.Repeat("of no concern ", 1<<17))
		}
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	run := start(t, app)
	for n := range 400 {
		run.emit(placed, order{strconv.Itoa(n % 3), n})
	}
	eventually(t, "all are handled or skipped", func() bool {
		s := run.Stats()["payment"]
		return s.Handled+s.Skipped == 400
	})
	run.stop()                        // fails the test if Run has failed
	marked := make(map[[2]int64]bool) // partition and offset: a round of which a part was refused is written again
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		for _, r := range m.Done {
			for o := r.Lo; o < r.Hi; o++ {
				marked[[2]int64{int64(m.Partition), o}] = true
			}
		}
	}
	if len(marked) != 400 {
		t.Errorf("%d events are marked", len(marked))
	}
}

// Two instances run under one name. The group excludes the older one, which ends and leaves the newer one in the group.
func TestTheOlderOfTwoInstancesLeavesTheNewerAlone(t *testing.T) {
	t.Parallel()
	where := keep(t)
	instance := func() *tidings.App {
		app := open(t, "audit", where, tidings.Instance("one"))
		tidings.React(app, placed, func(context.Context, tidings.Event[order]) error { return nil })
		return app
	}
	older := instance()
	ended := make(chan error, 1)
	go func() { ended <- older.Run(t.Context()) }()
	<-older.Ready()
	newer := start(t, instance())
	if err := <-ended; !errors.Is(err, kerr.FencedInstanceID) {
		t.Errorf("the older instance ends by %v", err)
	}
	member := func() string {
		groups, err := kadm.NewClient(client(t, where)).DescribeGroups(t.Context(), "audit")
		if err != nil || len(groups["audit"].Members) != 1 {
			return fmt.Sprint(groups["audit"].Members, err)
		}
		return groups["audit"].Members[0].MemberID
	}
	before := member()
	newer.emit(placed, order{ID: "1"})
	time.Sleep(1500 * time.Millisecond) // more than a heartbeat
	if after := member(); after != before {
		t.Errorf("the newer instance was a member as %s, and is as %s", before, after)
	}
}

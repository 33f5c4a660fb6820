package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
)

// Three reactions join a topic that has history: one wants all of it, one what comes next, one what came after a moment.
// What they wanted is written down, and a second start does not ask again.
func TestWhereANewReactionStarts(t *testing.T) {
	where := keep(t)
	shop := open(t, "shop", where)
	emitter := &running{App: shop, t: t, ctx: shop.Context(t.Context())}
	for i := range 8 {
		emitter.emit(placed, order{ID: fmt.Sprint("old", i)})
	}
	time.Sleep(5 * time.Millisecond)
	moment := time.Now()
	for i := range 4 {
		emitter.emit(placed, order{ID: fmt.Sprint("late", i)})
	}
	joins := []struct {
		name   string
		option tidings.ReactOption
		want   int // of history, which grows by two with each reaction
	}{{"all", tidings.FromBeginning(), 12}, {"next", tidings.FromEnd(), 0}, {"since", tidings.FromTime(moment), 4 + 4}}
	for _, join := range joins {
		var seen journal
		for round, option := range []tidings.ReactOption{join.option, tidings.FromBeginning()} {
			app := open(t, join.name, where)
			tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }, option)
			run := start(t, app)
			emitter.emit(placed, order{ID: fmt.Sprint("new", round)})
			eventually(t, join.name+" has what it wants", func() bool { return seen.len() == join.want+1+round })
			run.stop()
		}
	}
	for _, s := range facts[*obligation.Subscription](t, where, obligation.SubscriptionsTopic) {
		var start, since int64
		for p := range int32(4) {
			start, since = start+s.Start[p], since+s.Since[p]
		}
		switch {
		case !slices.Equal(s.Types, []string{placed.Name()}) || s.Topic != "orders" || s.Retired:
			t.Errorf("subscription %+v", s)
		case s.Reaction == "all" && start != 0, s.Reaction == "next" && start != since, since < 12:
			t.Errorf("%s starts at %v, listens since %v", s.Reaction, s.Start, s.Since)
		}
	}
}

// Partitions that a topic gets later are read from their beginning, whatever the reaction once started with.
func TestNewPartitionsAreReadFromTheirBeginning(t *testing.T) {
	t.Parallel()
	where := keep(t)
	grown := tidings.Define[order]("test.grown.happened", tidings.In("growing", tidings.Partitions(1)), tidings.Subject(about))
	var seen journal
	app := open(t, "all", where, tidings.FindPartitionsWithin(300*time.Millisecond))
	tidings.React(app, grown, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
	run := start(t, app)
	run.emit(grown, order{ID: "1"})
	eventually(t, "the first is seen", func() bool { return seen.len() == 1 })

	cl := client(t, where, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if r, err := kadm.NewClient(cl).UpdatePartitions(t.Context(), 2, "growing"); err != nil || r.Error() != nil {
		t.Fatal(err, r.Error())
	}
	rec := &kgo.Record{Topic: "growing", Partition: 1, Value: []byte(`{"id":"2"}`), Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte(grown.Name())}}}
	eventually(t, "a record is on the new partition", func() bool { return cl.ProduceSync(t.Context(), rec).FirstErr() == nil })
	eventually(t, "it is seen", func() bool { return seen.len() == 2 })
	run.stop()
	if ids := seen.ids(); ids[1] != "growing/1/0" {
		t.Errorf("the id of a record that has none is %q", ids[1])
	}
}

// A reaction that stops handling a topic retires its subscription, and one that handles more types says so.
func TestSubscriptionsFollowTheProgram(t *testing.T) {
	where := keep(t)
	other := tidings.Define[order]("test.other.happened", tidings.In("others", tidings.Partitions(1)))
	nothing := func(context.Context, tidings.Event[order]) error { return nil }
	versions := [][]*tidings.Fact[order]{{placed, other}, {placed, captured}, {placed, captured}, {captured, placed, other}}
	for _, version := range versions {
		app := open(t, "email", where)
		for _, f := range version {
			tidings.React(app, f, nothing)
		}
		start(t, app).stop()
	}
	var story []string
	for _, s := range facts[*obligation.Subscription](t, where, obligation.SubscriptionsTopic) {
		story = append(story, fmt.Sprint(s.Topic, s.Types)+fmt.Sprint(s.Retired))
	}
	slices.Sort(story[:2])
	slices.Sort(story[2:4])
	want := []string{
		"orders[shop.order.placed]false", "others[test.other.happened]false",
		"orders[shop.order.placed shop.payment.captured]false", "others[test.other.happened]true",
		"others[test.other.happened]false",
	}
	if !slices.Equal(story, want) {
		t.Errorf("got  %q\nwant %q", story, want)
	}
}

// Several instances of a new reaction start at the same moment while facts flow. They agree on one start.
func TestNewInstancesAgreeOnTheStart(t *testing.T) {
	t.Parallel()
	where := keep(t)
	shop := open(t, "shop", where)
	ctx := shop.Context(t.Context())
	stop := make(chan struct{})
	var emitter sync.WaitGroup
	emitter.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				if _, err := placed.Emit(ctx, order{ID: fmt.Sprint(i)}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	var all []*running
	for range 4 {
		app := open(t, "audit", where)
		tidings.React(app, placed, func(context.Context, tidings.Event[order]) error { return nil })
		all = append(all, begin(t, app))
	}
	for _, r := range all {
		<-r.Ready()
	}
	close(stop)
	emitter.Wait()
	for _, r := range all {
		r.stop()
	}
	subs := facts[*obligation.Subscription](t, where, obligation.SubscriptionsTopic)
	first, last := subs[0], subs[len(subs)-1]
	if fmt.Sprint(first.Start, first.Since) != fmt.Sprint(last.Start, last.Since) {
		t.Errorf("of %d facts the first says %v, the last %v", len(subs), first.Start, last.Start)
	}
}

// Events that retention deletes before they are handled are not passed over: the reaction stops and names them.
func TestEventsLostToRetentionStopTheReaction(t *testing.T) {
	where := embedded.Memory(func(c *broker.Config) { c.RetentionInterval = 10 * time.Millisecond })
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	adm := kadm.NewClient(client(t, where))
	short := map[string]*string{"retention.bytes": kadm.StringPtr("2048"), "segment.bytes": kadm.StringPtr("1048576")}
	if _, err := adm.CreateTopic(t.Context(), 1, 1, short, "short"); err != nil {
		t.Fatal(err)
	}
	brief := tidings.Define[[]byte]("test.brief.happened", tidings.In("short"))
	app := open(t, "slow", where)
	tidings.React(app, brief, func(context.Context, tidings.Event[[]byte]) error { return nil })
	start(t, app).stop()

	shop := open(t, "shop", where)
	payload := make([]byte, 200_000)
	eventually(t, "retention has deleted something", func() bool {
		if _, err := brief.Emit(shop.Context(t.Context()), payload); err != nil {
			t.Fatal(err)
		}
		starts, err := adm.ListStartOffsets(t.Context(), "short")
		o, _ := starts.Lookup("short", 0)
		return err == nil && o.Offset > 0
	})
	app = open(t, "slow", where)
	tidings.React(app, brief, func(context.Context, tidings.Event[[]byte]) error { return nil })
	err = app.Run(t.Context())
	lost, ok := errors.AsType[*tidings.LostError](err)
	if !ok || lost.Topic != "short" || lost.From != 0 || lost.To < 1 || lost.Reaction != "slow" {
		t.Errorf("%v", err)
	}
}

// A position behind the end of the log is an error, too, and not a reason to wait for ever.
func TestAPositionBeyondTheEndStopsTheReaction(t *testing.T) {
	where := keep(t)
	shop := open(t, "audit", where)
	tidings.React(shop, placed, func(context.Context, tidings.Event[order]) error { return nil })
	start(t, shop).stop()
	var o kadm.Offsets
	o.AddOffset("orders", 2, 100, -1)
	if err := kadm.NewClient(client(t, where)).CommitAllOffsets(t.Context(), "audit", o); err != nil {
		t.Fatal(err)
	}
	app := open(t, "audit", where)
	tidings.React(app, placed, func(context.Context, tidings.Event[order]) error { return nil })
	err := app.Run(t.Context())
	beyond, ok := errors.AsType[*tidings.BeyondError](err)
	if !ok || *beyond != (tidings.BeyondError{Reaction: "audit", Topic: "orders", Partition: 2, Position: 100, End: 0}) {
		t.Errorf("%v", err)
	}
}

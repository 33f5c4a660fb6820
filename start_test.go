package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// What a reaction is subscribed to follows the highest version of its program. One of the same version takes nothing away,
// and a lower one changes nothing.
func TestSubscriptionsFollowTheVersionOfTheProgram(t *testing.T) {
	where := keep(t)
	other := tidings.Define[order]("test.other.happened", tidings.In("others", tidings.Partitions(1)))
	nothing := func(context.Context, tidings.Event[order]) error { return nil }
	const (
		p = "shop.order.placed"
		c = "shop.payment.captured"
		o = "test.other.happened"
	)
	for _, program := range []struct {
		version        string
		handles        []*tidings.Fact[order]
		orders, others string
	}{
		{"", []*tidings.Fact[order]{placed, other}, p, o},
		{"", []*tidings.Fact[order]{placed, captured}, p + " " + c, o},
		{"1.9", []*tidings.Fact[order]{placed, captured}, p + " " + c, "retired"},
		{"1.10", []*tidings.Fact[order]{captured, other}, c, o},
		{"1.9", []*tidings.Fact[order]{placed}, c, o},
		{"", []*tidings.Fact[order]{placed}, c, o},
		{"1.10", []*tidings.Fact[order]{placed, shipped}, p + " shop.order.shipped " + c, o},
	} {
		app := open(t, "email", where, tidings.AppVersion(program.version))
		for _, f := range program.handles {
			tidings.React(app, f, nothing)
		}
		start(t, app).stop()
		last := make(map[string]*obligation.Subscription)
		for _, s := range facts[*obligation.Subscription](t, where, obligation.SubscriptionsTopic) {
			last[s.Topic] = s
		}
		for topic, want := range map[string]string{"orders": program.orders, "others": program.others} {
			have := last[topic]
			got := strings.Join(have.Types, " ")
			if have.Retired {
				got = "retired"
			}
			if got != want || len(have.Joining) > 0 || have.App != "email" {
				t.Errorf("after version %q with %d handlers, %s: %+v, want %s", program.version, len(program.handles), topic, have, want)
			}
		}
	}
}

// A name of a reaction belongs to one app.
func TestAReactionBelongsToOneApp(t *testing.T) {
	where := keep(t)
	nothing := func(context.Context, tidings.Event[order]) error { return nil }
	other := tidings.Define[order]("test.other.happened", tidings.In("others", tidings.Partitions(1)))
	billing := open(t, "billing", where)
	tidings.React(billing, placed, nothing, tidings.Named("audit"))
	start(t, billing)
	shipping := open(t, "shipping", where)
	tidings.React(shipping, other, nothing, tidings.Named("audit"))
	err := shipping.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `reaction "audit" belongs to app "billing"`) || !strings.Contains(err.Error(), `app "shipping"`) {
		t.Errorf("%v", err)
	}
	for _, s := range facts[*obligation.Subscription](t, where, obligation.SubscriptionsTopic) {
		if s.Topic != "orders" || s.Retired {
			t.Errorf("%+v", s)
		}
	}
}

// Two versions of one program run as one reaction. The new one handles a type more: none of its events is passed over by the
// old one, which leaves them and stands by.
func TestARollingDeploymentPassesOverNothing(t *testing.T) {
	t.Parallel()
	where := dynamic{keep(t)}
	var byOld, byNew journal
	old := open(t, "payment", where)
	tidings.React(old, placed, func(_ context.Context, e tidings.Event[order]) error { byOld.note(e); return nil })
	oldRun := start(t, old)
	shop := open(t, "shop", where)
	ctx := shop.Context(t.Context())
	emit := func(f *tidings.Fact[order], seq int) {
		t.Helper()
		for i := range 50 {
			if _, err := f.Emit(ctx, order{fmt.Sprint(i), seq}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Case: nobody handles these. The old version passes over them, which it may.
	emit(captured, 1)
	eventually(t, "they are passed over", func() bool { return oldRun.Stats()["payment"].Unhandled == 50 })

	next := open(t, "payment", where)
	tidings.React(next, placed, func(_ context.Context, e tidings.Event[order]) error { byNew.note(e); return nil })
	tidings.React(next, captured, func(_ context.Context, e tidings.Event[order]) error { byNew.note(e); return nil })
	nextRun := start(t, next)
	emit(placed, 2)
	emit(captured, 3)
	emit(placed, 4)
	eventually(t, "all is handled", func() bool { return byOld.len()+byNew.len() == 150 })
	if n := oldRun.Stats()["payment"].Unhandled; n != 50 {
		t.Errorf("the old version has passed over %d events", n-50)
	}

	// Case: the new version is gone. The old one stands by, also after a restart, until the new one is back.
	nextRun.stop()
	oldRun.stop()
	old = open(t, "payment", where)
	tidings.React(old, placed, func(_ context.Context, e tidings.Event[order]) error { byOld.note(e); return nil })
	oldRun = start(t, old)
	emit(captured, 5)
	eventually(t, "the old version stands by", func() bool { return oldRun.Stats()["payment"].StandsBy })
	if n := oldRun.Stats()["payment"].Unhandled; n != 0 {
		t.Errorf("the old version has passed over %d events", n)
	}
	next = open(t, "payment", where)
	tidings.React(next, placed, func(_ context.Context, e tidings.Event[order]) error { byNew.note(e); return nil })
	tidings.React(next, captured, func(_ context.Context, e tidings.Event[order]) error { byNew.note(e); return nil })
	start(t, next)
	eventually(t, "the rest is handled", func() bool { return byOld.len()+byNew.len() == 200 })
}

// A deployment is taken back, and made again. The old version meets an event that only the new one handles: it does not handle
// later events of that subject, which the new version handles in their order. What was there before a type was subscribed to
// is not handled.
func TestOrderIsKeptOverVersions(t *testing.T) {
	t.Parallel()
	where := dynamic{keep(t)}
	var seen journal
	service := func(version string, facts ...*tidings.Fact[order]) *running {
		app := open(t, "payment", where, tidings.AppVersion(version))
		for _, f := range facts {
			tidings.React(app, f, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil })
		}
		return start(t, app)
	}
	shop := open(t, "shop", where)
	ctx := shop.Context(t.Context())
	seq := 0
	emit := func(f *tidings.Fact[order], subjects int) {
		t.Helper()
		seq++
		for i := range subjects {
			if _, err := f.Emit(ctx, order{fmt.Sprint(i), seq}); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := service("1", placed)
	old.stop()
	for i := range 10 { // before the type is subscribed to
		if _, err := captured.Emit(ctx, order{fmt.Sprint("early-", i), 1}); err != nil {
			t.Fatal(err)
		}
	}
	service("2", placed, captured).stop()
	old = service("1", placed)
	emit(placed, 10)
	emit(captured, 10)
	emit(placed, 10)
	emit(placed, 10)
	eventually(t, "the old version stands by", func() bool { return old.Stats()["payment"].StandsBy })
	emit(placed, 10)
	service("2", placed, captured)
	eventually(t, "all is handled", func() bool { return seen.len() >= 50 })
	emit(placed, 1)
	eventually(t, "and the next one", func() bool { return seen.len() >= 51 })
	seen.ordered(t)
	if n := seen.len(); n != 51 {
		t.Errorf("%d events were handled, want 51: those from before the type was subscribed to are not", n)
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

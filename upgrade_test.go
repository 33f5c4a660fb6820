package tidings_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
)

// earlier is an instance of the earlier version of this package, which derives ids from ids alone. It is a member of the group
// as that was, and what the test makes it emit has the ids that it gave.
type earlier struct {
	*kgo.Client
	t        *testing.T
	assigned chan map[string][]int32
}

// joinEarlier joins the group of a reaction as the earlier version did.
func joinEarlier(t *testing.T, where tidings.Connection, reaction, topic string) *earlier {
	e := &earlier{t: t, assigned: make(chan map[string][]int32, 10)}
	e.Client = client(t, where, kgo.ConsumerGroup(reaction), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) { e.assigned <- added }))
	return e
}

// emit emits what follows from an event that the reaction checks has handled.
func (e *earlier) emit(cause *kgo.Record, topic string) {
	e.t.Helper()
	ev := cloudevent.FromRecord(cause)
	ev.Derivation = cloudevent.DerivedFromID
	out := cloudevent.Event{ID: ev.Cause("checks").EmissionID(checked.Name(), "", 0), Type: checked.Name(), Source: "checks", Correlation: ev.Correlation,
		Causation: ev.ID, Reaction: "checks", Data: ev.Data}
	r := out.Record(topic)
	r.Partition = cause.Partition
	if err := e.ProduceSync(e.t.Context(), r).FirstErr(); err != nil {
		e.t.Fatal(err)
	}
}

// checks opens the app whose handler emits one event for each that it gets.
func checks(t *testing.T, where tidings.Connection, fact, follows *tidings.Fact[reading], got *seen) *running {
	app := open(t, "checks", dynamic{where})
	tidings.React(app, fact, func(ctx context.Context, e tidings.Event[reading]) error {
		_, err := follows.Emit(ctx, e.Data)
		got.note(e)
		return err
	})
	return start(t, app)
}

// emitted returns the ids of what the reaction checks has emitted for the events with an id, each once.
func emitted(t *testing.T, where tidings.Connection, topic, cause string) (ids []string) {
	t.Helper()
	for _, r := range dump(t, where, topic) {
		if header(r, cloudevent.HeaderReaction) == "checks" && header(r, cloudevent.HeaderCausation) == cause {
			ids = append(ids, header(r, cloudevent.HeaderID))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Case: the reaction is new. Two sources have one id, and what follows from their events is two events under two keys.
func TestWhatFollowsFromTwoSourcesIsApart(t *testing.T) {
	where := keep(t)
	var got, second seen
	run := checks(t, where, taken, checked, &got)
	app := open(t, "second", where)
	tidings.React(app, checked, func(_ context.Context, e tidings.Event[reading]) error {
		second.note(e)
		return nil
	})
	downstream := start(t, app)
	records := twoSources(t)
	write(t, where, append(records, twoSources(t)...)...)
	eventually(t, "all that follows is handled", func() bool { return second.len() == len(records) })
	run.stop()
	downstream.stop()
	if got.len() != len(records) || len(got.keys) != len(records) || len(second.keys) != len(records) {
		t.Errorf("%d events under %d keys, then %d under %d", got.len(), len(got.keys), second.len(), len(second.keys))
	}
}

// Case: the program of a reaction is stopped and a later version is started. An event that the earlier one has handled, and
// not marked, is handled again, and what follows from it has the id that it has already. Later events have ids of their own.
func TestAnUpgradeEmitsNothingTwice(t *testing.T) {
	where := keep(t)
	first := binary("k", `{"V":"first"}`, map[string]string{"ce_id": "1", "ce_type": taken.Name(), "ce_source": "/a"})
	admin := kadm.NewClient(client(t, where))
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "plant"); err != nil {
		t.Fatal(err)
	}
	// The earlier version has been here: it has committed, and then died between what it emitted and the mark.
	before := kadm.Offsets{}
	before.AddOffset("plant", 0, 0, -1)
	if err := admin.CommitAllOffsets(t.Context(), "checks", before); err != nil {
		t.Fatal(err)
	}
	write(t, where, binary("k", "of no concern", nil), first)
	(&earlier{Client: client(t, where), t: t}).emit(first, "plant")

	var got seen
	run := checks(t, where, taken, checked, &got)
	eventually(t, "the event is handled again", func() bool { return got.len() == 1 && run.Stats()["checks"].Handled == 1 })
	if ids := emitted(t, where, "plant", "1"); len(ids) != 1 {
		t.Errorf("one event was followed by %q", ids)
	}
	for _, source := range []string{"/a", "/b"} {
		write(t, where, binary("k", `{"V":"later"}`, map[string]string{"ce_id": "2", "ce_type": taken.Name(), "ce_source": source}))
	}
	eventually(t, "two later events are handled", func() bool { return run.Stats()["checks"].Handled == 3 })
	if ids := emitted(t, where, "plant", "2"); len(ids) != 2 {
		t.Errorf("two events were followed by %q", ids)
	}
	run.stop()

	// Everything is handled once more. Nothing gets another id, or key.
	before = kadm.Offsets{}
	before.AddOffset("plant", 0, 1, -1)
	if err := admin.CommitAllOffsets(t.Context(), "checks", before); err != nil {
		t.Fatal(err)
	}
	run = checks(t, where, taken, checked, &got)
	eventually(t, "all are handled once more", func() bool { return run.Stats()["checks"].Handled == 3 })
	run.stop()
	if one, two := emitted(t, where, "plant", "1"), emitted(t, where, "plant", "2"); len(one) != 1 || len(two) != 2 || len(got.keys) != 3 {
		t.Errorf("%q, %q, keys %v", one, two, got.keys)
	}
}

// Case: a rolling upgrade. While an instance of the earlier version is in the group, which could get any partition, ids are
// those that it would give. When it has left, the partitions that it had begin with the newer ones at their ends.
func TestARollingUpgradeEmitsNothingTwice(t *testing.T) {
	where := keep(t)
	var (
		readings = tidings.Define[reading]("field.reading.taken", tidings.In("field", tidings.Partitions(2)))
		follows  = tidings.Define[reading]("plant.reading.checked", tidings.In("plant", tidings.Partitions(1)))
	)
	for topic, partitions := range map[string]int32{"field": 2, "plant": 1} {
		if _, err := kadm.NewClient(client(t, where)).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	to := func(partition int32, id, source string) *kgo.Record {
		r := binary("k", `{"V":"`+id+source+`"}`, map[string]string{"ce_id": id, "ce_type": readings.Name(), "ce_source": source})
		r.Topic, r.Partition = "field", partition
		return r
	}
	put := client(t, where, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produce := func(records ...*kgo.Record) {
		t.Helper()
		if err := put.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	old := joinEarlier(t, where, "checks", "field")
	if first := <-old.assigned; len(first["field"]) != 2 {
		t.Fatalf("the earlier instance has %v", first)
	}
	// Like every version, it commits where it starts before it handles anything.
	starts := map[string]map[int32]kgo.EpochOffset{"field": {0: {Epoch: -1}, 1: {Epoch: -1}}}
	old.CommitOffsetsSync(t.Context(), starts, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	var got seen
	run := checks(t, where, readings, follows, &got)
	owned := int32(-1) // the partition that the new instance gets
	eventually(t, "each has a partition", func() bool {
		groups, err := kadm.NewClient(put).DescribeGroups(t.Context(), "checks")
		if err != nil {
			t.Fatal(err)
		}
		g := groups["checks"]
		if len(g.Members) != 2 || g.State != "Stable" || strings.HasPrefix(g.Protocol, "tidings") {
			return false
		}
		owned = -1
		for _, m := range g.Members {
			c, ok := m.Assigned.AsConsumer()
			if !ok || len(c.Topics) != 1 || len(c.Topics[0].Partitions) != 1 {
				return false
			}
			if !strings.HasPrefix(m.ClientID, "kgo") {
				owned = c.Topics[0].Partitions[0]
			}
		}
		return owned >= 0
	})
	// One event is handled by each; the earlier instance dies before it has marked its own.
	mine, its := to(owned, "mine", "/a"), to(1-owned, "its", "/a")
	produce(mine, its)
	eventually(t, "the new instance handles its event", func() bool { return run.Stats()["checks"].Handled == 1 })
	old.emit(mine, "plant") // as if it had got that partition, too
	old.emit(its, "plant")
	if err := old.LeaveGroupContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new instance handles the other's event", func() bool { return run.Stats()["checks"].Handled == 2 })
	for _, id := range []string{"mine", "its"} {
		if ids := emitted(t, where, "plant", id); len(ids) != 1 {
			t.Errorf("one event was followed by %q", ids)
		}
	}
	// From here on the partition that moved has ids of its own for each event.
	produce(to(1-owned, "3", "/a"), to(1-owned, "3", "/b"))
	eventually(t, "later events are handled", func() bool { return run.Stats()["checks"].Handled == 4 })
	run.stop()
	if ids := emitted(t, where, "plant", "3"); len(ids) != 2 {
		t.Errorf("two events were followed by %q", ids)
	}
	for _, d := range facts[*obligation.Derivation](t, where, obligation.SubscriptionsTopic) {
		if d.Topic != "field" || d.Partition != 1-owned || d.From != its.Offset+1 {
			t.Errorf("%+v", d)
		}
	}
}

package meta

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func id(n byte) TopicID { return TopicID{15: n} }

func mustApply(t testing.TB, c *Catalogue) func(Change, error) Topic {
	return func(ch Change, err error) Topic {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		read, err := DecodeChange(ch.Encode())
		if err != nil || !reflect.DeepEqual(read, ch) {
			t.Fatalf("%+v reads back as %+v, %v", ch, read, err)
		}
		c.Apply(read)
		return ch.Topic
	}
}

func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: %v, want %v", what, err, target)
	}
}

func names(c *Catalogue) string {
	var all []string
	for _, t := range c.Topics() {
		all = append(all, fmt.Sprintf("%s/%d", t.Name, t.Partitions))
	}
	return strings.Join(all, " ")
}

func TestTopicsComeGrowAndGo(t *testing.T) {
	c := NewCatalogue(4)
	apply := mustApply(t, c)
	orders := apply(c.Create(TopicSpec{Name: "orders", Configs: map[string]string{RetentionMS: "1000"}}, id(1)))
	apply(c.Create(TopicSpec{Name: "bills", Partitions: 1}, id(2)))
	held := c.Topics()
	apply(c.Create(TopicSpec{Name: "parcels", Partitions: -1}, id(3)))
	if got := names(c); got != "bills/1 orders/4 parcels/4" {
		t.Fatal(got)
	}
	// Case: nothing changes before the change is durable and applied.
	ch, err := c.Grow("bills", 3)
	if err != nil || names(c) != "bills/1 orders/4 parcels/4" {
		t.Fatal(err, names(c))
	}
	apply(ch, nil)
	apply(c.Delete(orders.ID))
	if got := names(c); got != "bills/3 parcels/4" {
		t.Fatal(got)
	}
	// Case: what was handed out before stays as it was.
	if len(held) != 2 || held[0].Partitions != 1 || held[1].Name != "orders" {
		t.Fatalf("a list handed out has changed: %+v", held)
	}
	// Case: recreated under the same name it is another topic (trap 18).
	again := apply(c.Create(TopicSpec{Name: "orders"}, id(4)))
	if _, ok := c.TopicByID(orders.ID); ok || again.ID == orders.ID || again.Configs != nil {
		t.Fatalf("the old topic lives on in %+v", again)
	}
	if got, ok := c.Topic("orders"); !ok || got.ID != id(4) {
		t.Fatalf("%+v, %v", got, ok)
	}
}

func TestChangesAreRefused(t *testing.T) {
	c := NewCatalogue(0)
	apply := mustApply(t, c)
	apply(c.Create(TopicSpec{Name: "a.b", Partitions: 2}, id(1)))
	for _, x := range []struct {
		spec TopicSpec
		want error
	}{
		{TopicSpec{Name: ""}, ErrInvalidTopic},
		{TopicSpec{Name: "."}, ErrInvalidTopic},
		{TopicSpec{Name: ".."}, ErrInvalidTopic},
		{TopicSpec{Name: "a/b"}, ErrInvalidTopic},
		{TopicSpec{Name: "straße"}, ErrInvalidTopic},
		{TopicSpec{Name: strings.Repeat("x", 250)}, ErrInvalidTopic},
		{TopicSpec{Name: "a_b"}, ErrInvalidTopic},
		{TopicSpec{Name: "a.b"}, ErrTopicExists},
		{TopicSpec{Name: "x", Partitions: -2}, ErrInvalidPartitions},
		{TopicSpec{Name: "x", Partitions: MaxPartitions + 1}, ErrInvalidPartitions},
		{TopicSpec{Name: "x", Configs: map[string]string{"no.such": "1"}}, ErrInvalidConfig},
		{TopicSpec{Name: "x", Configs: map[string]string{RetentionMS: "soon"}}, ErrInvalidConfig},
	} {
		_, err := c.Create(x.spec, id(9))
		want(t, fmt.Sprintf("create %+v", x.spec), err, x.want)
		var why *InvalidError
		if !errors.As(err, &why) || why.Reason == "" {
			t.Fatalf("%v does not say why", err)
		}
	}
	if _, err := c.Create(TopicSpec{Name: strings.Repeat("x", 249)}, id(9)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Create(TopicSpec{Name: "x"}, id(1))
	want(t, "an id used before", err, ErrTopicExists)
	_, err = c.Create(TopicSpec{Name: "x"}, TopicID{})
	want(t, "no id", err, ErrTopicExists)
	_, err = c.Delete(id(7))
	want(t, "delete", err, ErrUnknownTopic)
	for n, target := range map[int32]error{2: ErrInvalidPartitions, 1: ErrInvalidPartitions, MaxPartitions + 1: ErrInvalidPartitions} {
		_, err = c.Grow("a.b", n)
		want(t, fmt.Sprint("grow to ", n), err, target)
	}
	_, err = c.Grow("nobody", 5)
	want(t, "grow", err, ErrUnknownTopic)
}

// Over any history, the snapshot and the changes give the same catalogue, also when changes that the snapshot has are
// replayed over it.
func TestReplayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCatalogue(3)
		model := map[string]int32{}
		var journal [][]byte
		var snapshot []byte
		snapshotAt := 0
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "topic")
			var ch Change
			var err error
			switch rapid.SampledFrom([]string{"create", "delete", "grow", "checkpoint"}).Draw(t, "step") {
			case "create":
				if ch, err = c.Create(TopicSpec{Name: name, Configs: map[string]string{SegmentMS: "5"}}, id(byte(i+1))); err == nil {
					model[name] = 3
				}
			case "delete":
				topic, _ := c.Topic(name)
				if ch, err = c.Delete(topic.ID); err == nil {
					delete(model, name)
				}
			case "grow":
				if ch, err = c.Grow(name, model[name]+2); err == nil {
					model[name] += 2
				}
			case "checkpoint":
				snapshot, snapshotAt = c.Snapshot(), len(journal)
				continue
			}
			if err != nil {
				continue
			}
			journal = append(journal, ch.Encode())
			c.Apply(ch)
		}
		r := NewCatalogue(3)
		if snapshot != nil {
			if err := r.Load(snapshot); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range journal[rapid.IntRange(0, snapshotAt).Draw(t, "replay from"):] {
			ch, err := DecodeChange(b)
			if err != nil {
				t.Fatal(err)
			}
			r.Apply(ch)
		}
		if !bytes.Equal(r.Snapshot(), c.Snapshot()) {
			t.Fatalf("recovered %v, was %v", names(r), names(c))
		}
		got := map[string]int32{}
		for _, topic := range r.Topics() {
			got[topic.Name] = topic.Partitions
			if byName, ok := r.Topic(topic.Name); !ok || byName.ID != topic.ID {
				t.Fatalf("%q is found as %+v", topic.Name, byName)
			}
		}
		if !maps.Equal(got, model) {
			t.Fatalf("recovered %v, want %v", got, model)
		}
	})
}

func TestCorruptChanges(t *testing.T) {
	c := NewCatalogue(4)
	ch, err := c.Create(TopicSpec{Name: "orders", Configs: map[string]string{SegmentMS: "5"}}, id(1))
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(ch)
	whole, snapshot := ch.Encode(), c.Snapshot()
	for i := range whole {
		_, err := DecodeChange(whole[:i])
		want(t, fmt.Sprint("cut at ", i), err, ErrCorruptRecord)
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0xff
		DecodeChange(flipped) // any answer but a panic
	}
	for i := range snapshot {
		empty := NewCatalogue(4)
		want(t, fmt.Sprint("cut at ", i), empty.Load(snapshot[:i]), ErrCorruptRecord)
		if len(empty.Topics()) != 0 {
			t.Fatal("a failed Load left topics behind")
		}
	}
	_, err = DecodeChange(append(whole, 0))
	want(t, "bytes too many", err, ErrCorruptRecord)
}

func FuzzDecodeChange(f *testing.F) {
	f.Add(Change{Created, Topic{Name: "orders", ID: id(1), Partitions: 4, Configs: map[string]string{SegmentMS: "5"}}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		ch, err := DecodeChange(b)
		if err != nil {
			return
		}
		again, err := DecodeChange(ch.Encode())
		if err != nil || !reflect.DeepEqual(again, ch) {
			t.Fatalf("%+v reads back as %+v, %v", ch, again, err)
		}
	})
}

func TestConfigTable(t *testing.T) {
	if !slices.IsSortedFunc(settings, func(a, b setting) int { return strings.Compare(a.name, b.name) }) {
		t.Fatal("the table is searched by name, and is not in order")
	}
	for _, s := range settings {
		if reason := s.check(s.value); reason != "" {
			t.Errorf("the default of %s is refused: %s", s.name, reason)
		}
		if s.doc == "" {
			t.Errorf("%s is not explained", s.name)
		}
	}
	for _, x := range []struct {
		name, value string
		ok          bool
	}{
		{CleanupPolicy, "compact", true}, {CleanupPolicy, "compact, delete", true}, {CleanupPolicy, "", true}, {CleanupPolicy, "shred", false},
		{"compression.type", "producer", true}, {"compression.type", "gzip", true}, {"compression.type", "uncompressed", true}, {"compression.type", "lz5", false},
		{"min.insync.replicas", "1", true}, {"min.insync.replicas", "2", true}, {"min.insync.replicas", "0", false},
		{"leader.replication.throttled.replicas", "", true}, {"leader.replication.throttled.replicas", "*", true}, {"leader.replication.throttled.replicas", "0:1, 1:1", true},
		{"follower.replication.throttled.replicas", "0:1,*", false}, {"follower.replication.throttled.replicas", "0", false}, {"follower.replication.throttled.replicas", "a:1", false},
		{"local.retention.ms", "-2", true}, {"local.retention.bytes", "-3", false}, {"remote.log.copy.disable", "TRUE", true}, {"remote.storage.enable", "true", false},
		{"compression.gzip.level", "-1", true}, {"compression.gzip.level", "0", false}, {"compression.gzip.level", "9", true},
		{RetentionBytes, "-1", true}, {RetentionBytes, "-2", true}, {RetentionMS, "9223372036854775808", false},
		{SegmentBytes, "1024", true}, {SegmentBytes, "1023", false}, {SegmentBytes, "2147483648", false},
		{TimestampType, "LogAppendTime", true}, {TimestampType, "logappendtime", false},
		{"min.cleanable.dirty.ratio", "0.1", true}, {"min.cleanable.dirty.ratio", "1.1", false}, {"min.cleanable.dirty.ratio", "NaN", false},
		{"preallocate", "yes", false}, {"", "", false},
	} {
		if err := CheckConfig(x.name, x.value); (err == nil) != x.ok {
			t.Errorf("%s=%s: %v", x.name, x.value, err)
		}
	}
}

func TestConfigInForce(t *testing.T) {
	d := Defaults{SegmentBytes: 1 << 20}
	plain := Topic{Name: "plain"}.Config(d)
	want := TopicConfig{
		Delete: true, Retention: 7 * 24 * time.Hour, RetentionBytes: -1, SegmentBytes: 1 << 20, SegmentAge: 7 * 24 * time.Hour,
		IndexIntervalBytes: 4096, MaxMessageBytes: 1048588, TimestampBefore: 1<<63 - 1, TimestampAfter: time.Hour,
		Durability: Sync, SyncWithin: 100 * time.Millisecond,
		CleanableRatio: 0.5, MaxCompactionLag: 1<<63 - 1, DeleteRetention: 24 * time.Hour,
	}
	if plain != want {
		t.Fatalf("\n got %+v\nwant %+v", plain, want)
	}
	set := Topic{Configs: map[string]string{
		CleanupPolicy: "compact", RetentionMS: "-1", RetentionBytes: " 5 ", SegmentBytes: "2048", TimestampType: "LogAppendTime", MaxMessageBytes: "100",
	}}.Config(d)
	want.Delete, want.Compact, want.Retention, want.RetentionBytes = false, true, -1, 5
	want.SegmentBytes, want.LogAppendTime, want.MaxMessageBytes = 2048, true, 100
	if set != want {
		t.Fatalf("\n got %+v\nwant %+v", set, want)
	}
}

func TestDescribe(t *testing.T) {
	got := map[string]ConfigEntry{}
	for _, e := range Describe(Topic{Configs: map[string]string{RetentionMS: "5"}}, Defaults{SegmentBytes: 4096}) {
		got[e.Name] = e
	}
	// Case: all are told, defaults included (trap 17), each with its source.
	if len(got) != len(settings) {
		t.Fatalf("%d of %d are told", len(got), len(settings))
	}
	for name, w := range map[string]ConfigEntry{
		RetentionMS:    {Value: "5", Source: SourceTopic, Type: TypeLong},
		SegmentBytes:   {Value: "4096", Source: SourceStaticBroker, Type: TypeInt, Default: true},
		RetentionBytes: {Value: "-1", Source: SourceDefault, Type: TypeLong, Default: true},
	} {
		g := got[name]
		if g.Value != w.Value || g.Source != w.Source || g.Type != w.Type || g.Default != w.Default {
			t.Errorf("%s: %+v", name, g)
		}
	}
	entries := DescribeBroker(BrokerSettings{NodeID: 1, DefaultPartitions: 4, OffsetRetention: time.Hour})
	if !slices.IsSortedFunc(entries, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the broker's configurations are not in order")
	}
	for _, e := range entries {
		if e.Doc == "" || !e.ReadOnly || e.Name == "offsets.retention.minutes" && e.Value != "60" {
			t.Errorf("%+v", e)
		}
	}
}

package kafka

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// enginePartition returns the engine's name for a partition of a topic.
func enginePartition(t meta.Topic, index int32) engine.Partition {
	return engine.Partition{Topic: t.ID, Index: index}
}

// TestKgoProducesAndConsumes has a kgo client produce with each codec, and another read all records with their keys and
// headers.
func TestKgoProducesAndConsumes(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 4)
	const n = 500
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		producer := h.client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(0))
		var rs []*kgo.Record
		for j := range n {
			rs = append(rs, &kgo.Record{
				Topic: "orders", Key: []byte(fmt.Sprint(j)), Value: []byte(fmt.Sprintf("%d-%d", i, j)),
				Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte("shop.order.placed")}},
			})
		}
		if err := producer.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	got := consume(t, h.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 5*n)
	next := map[string]int{}
	for _, r := range got {
		var codec, j int
		fmt.Sscanf(string(r.Value), "%d-%d", &codec, &j)
		if string(r.Key) != fmt.Sprint(j) || len(r.Headers) != 1 || string(r.Headers[0].Value) != "shop.order.placed" {
			t.Fatalf("%s=%s %v", r.Key, r.Value, r.Headers)
		}
		if want := next[string(r.Key)]; codec != want { // order by key
			t.Fatalf("key %s: codec %d came before %d", r.Key, codec, want)
		}
		next[string(r.Key)]++
	}
}

// consume polls c until it has n records, and returns them.
func consume(t *testing.T, c *kgo.Client, n int) (got []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(got) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(got), n, err)
		}
		got = append(got, fetches.Records()...)
	}
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	return got
}

// TestKgoGroups has members join and leave a group of kgo clients, with eager and with cooperative balancing. Every
// record must be handled, by one member at a time, and committed positions must be kept.
func TestKgoGroups(t *testing.T) {
	for name, balancer := range map[string]kgo.GroupBalancer{"eager": kgo.RangeBalancer(), "cooperative": kgo.CooperativeStickyBalancer()} {
		t.Run(name, func(t *testing.T) {
			h := newTestServer(t)
			h.topic("orders", 6)
			producer := h.client(kgo.ProducerLinger(0))
			var mu sync.Mutex
			seen := map[string]int{}
			member := func() (stop func()) {
				c := h.client(kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("readers"), kgo.Balancers(balancer),
					kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
					kgo.HeartbeatInterval(50*time.Millisecond), kgo.BlockRebalanceOnPoll())
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					for ctx.Err() == nil {
						fetches := c.PollFetches(ctx)
						rs := fetches.Records()
						mu.Lock()
						for _, r := range rs {
							seen[string(r.Value)]++
						}
						mu.Unlock()
						if err := c.CommitRecords(context.Background(), rs...); err != nil {
							t.Error("commit:", err)
						}
						c.AllowRebalance()
					}
				})
				return func() { cancel(); wg.Wait(); c.CloseAllowingRebalance() }
			}
			sent := 0
			produce := func() {
				t.Helper()
				for range 200 {
					r := &kgo.Record{Topic: "orders", Key: []byte(fmt.Sprint(sent)), Value: []byte(fmt.Sprint(sent))}
					producer.Produce(t.Context(), r, nil)
					sent++
				}
				if err := producer.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			all := func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == sent }

			first := member()
			produce()
			eventually(t, "the first member to read all", all)
			second := member()
			produce()
			eventually(t, "two members to read all", all)
			first()
			produce()
			eventually(t, "the second to take over", all)
			second()
			for v, n := range seen {
				if n != 1 {
					t.Errorf("%s was handled %d times", v, n)
				}
			}
			third := member()
			produce()
			eventually(t, "a later member to go on", all)
			third()
		})
	}
}

// TestKadm uses kadm, the administrative client of franz-go, on topics, configurations, offsets, groups and the
// cluster.
func TestKadm(t *testing.T) {
	h := newTestServer(t)
	admin := kadm.NewClient(h.client())
	ctx := t.Context()
	value := "compact"
	if _, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"cleanup.policy": &value}, "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UpdatePartitions(ctx, 5, "orders"); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil || len(topics["orders"].Partitions) != 5 {
		t.Fatal(topics, err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := configs.On("orders", func(r *kadm.ResourceConfig) error {
		for _, c := range r.Configs {
			if c.Key == "cleanup.policy" && c.MaybeValue() == value {
				return nil
			}
		}
		return fmt.Errorf("no cleanup.policy in %v", r.Configs)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DescribeBrokerConfigs(ctx, 1); err != nil {
		t.Fatal(err)
	}

	producer := h.client()
	for i := range 10 {
		r := &kgo.Record{Topic: "orders", Key: []byte{byte(i)}, Value: []byte("x")}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ends, err := admin.ListEndOffsets(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != 10 {
		t.Errorf("end offsets add up to %d", total)
	}
	if err := admin.CommitAllOffsets(ctx, "readers", ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	lags, err := admin.Lag(ctx, "readers")
	if err != nil || lags.Error() != nil {
		t.Fatal(err, lags.Error())
	}
	if lag := lags["readers"].Lag.Total(); lag != 0 {
		t.Errorf("lag is %d", lag)
	}
	cluster, err := admin.Metadata(ctx)
	if err != nil || cluster.Cluster != h.engine.ClusterID() || cluster.Controller != 1 {
		t.Error(cluster, err)
	}
	if _, err := admin.DeleteGroup(ctx, "readers"); err != nil {
		t.Error(err)
	}
	if _, err := admin.DeleteTopic(ctx, "orders"); err != nil {
		t.Error(err)
	}
	if _, ok := h.engine.Topic("orders"); ok {
		t.Error("the deleted topic is still there")
	}
}

// TestKgoWithOldVersions checks that kgo works when it is limited to the versions that an old release of Kafka has.
func TestKgoWithOldVersions(t *testing.T) {
	for name, cap := range oldVersions {
		t.Run(name, func(t *testing.T) {
			h := newTestServer(t)
			h.topic("orders", 2)
			c := h.client(kgo.MaxVersions(cap()), kgo.ProducerLinger(0), kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("g"),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			for i := range 20 {
				r := &kgo.Record{Topic: "orders", Key: []byte(fmt.Sprint(i)), Value: []byte("x")}
				if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			consume(t, c, 20)
			if err := c.CommitUncommittedOffsets(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// oldVersions holds, by release of Kafka, a function that returns the highest version of each API that clients of that
// release send.
var oldVersions = map[string]func() *kversion.Versions{
	"1.0": kversion.V1_0_0, "2.0": kversion.V2_0_0, "2.4": kversion.V2_4_0, "3.0": kversion.V3_0_0, "3.6": kversion.V3_6_0,
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"tidings.dev/internal/vfs"
)

// protocols are the options with which kgo runs transactions by each of the two protocols.
var protocols = map[string][]kgo.Opt{
	"version 2": nil,
	"old":       {kgo.MaxVersions(kversion.V3_6_0())},
}

// committedValues returns the values of all records of a topic up to its last stable offset, without aborted ones, in
// order.
func (h *testServer) committedValues(topic string) []string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c := h.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords())
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, topic)
	if err != nil {
		h.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var values []string
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			h.t.Fatalf("%v of %s are not read: %v", left, topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	slices.Sort(values)
	return values
}

// TestKgoTransactions has a kgo client commit and abort transactions over several partitions, while the broker is
// restarted before each end, and a reader of committed records see exactly what was committed.
func TestKgoTransactions(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewMem()
			h := openTestServer(t, files)
			h.topic("orders", 3)
			var want []string
			for round := range 2 {
				p := h.client(append(opts, kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
				for n := range 6 {
					commit := kgo.TransactionEndTry(n%3 != 1)
					if err := p.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					for part := range int32(3) {
						value := fmt.Sprint(round, n, part)
						r := &kgo.Record{Topic: "orders", Partition: part, Value: []byte(value)}
						if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
							t.Fatal(err)
						}
						if commit {
							want = append(want, value)
						}
					}
					if err := p.EndTransaction(t.Context(), commit); err != nil {
						t.Fatalf("transaction %d: %v", n, err)
					}
				}
				// One more is left open: the next producer, after a restart, aborts it.
				if err := p.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				r := &kgo.Record{Topic: "orders", Partition: 1, Value: []byte("left open")}
				if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if got := h.committedValues("orders"); !slices.Equal(got, want) {
					t.Fatalf("committed %v, want %v", got, want)
				}
				h.close()
				h = openTestServer(t, files)
				if got := h.committedValues("orders"); !slices.Equal(got, want) {
					t.Fatalf("committed after a restart %v, want %v", got, want)
				}
				described, err := kadm.NewClient(h.client()).DescribeTransactions(t.Context(), "tx")
				if tx := described["tx"]; err != nil || tx.State != "Ongoing" || !slices.Equal(slices.Collect(maps.Keys(tx.Topics["orders"])), []int32{1}) {
					t.Fatalf("%+v, %v", tx, err)
				} else if v2 := name == "version 2"; v2 != (tx.ProducerEpoch >= 6) {
					t.Fatalf("the epoch is %d: it was not the protocol that this test is of", tx.ProducerEpoch)
				}
			}
			// Case: uncommitted readers see all, in order, with the markers in between.
			all := h.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			if got := consume(t, all, 2*18+2); len(got) != 38 {
				t.Fatal(len(got))
			}
		})
	}
}

// TestKgoConsumesAndProducesInTransactions has kgo's GroupTransactSession double records from one topic into another, by
// several instances with one group, of which one after the other is closed, and some of whose transactions are aborted.
// Each record must have been doubled exactly once.
func TestKgoConsumesAndProducesInTransactions(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			h := newTestServer(t)
			h.topic("in", 4)
			h.topic("out", 4)
			const n = 400
			var want []string
			in := h.client(kgo.ProducerLinger(0))
			for i := range n {
				r := &kgo.Record{Topic: "in", Key: []byte(fmt.Sprint(i)), Value: []byte(fmt.Sprint(i))}
				if err := in.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("%d%d", i, i))
			}
			slices.Sort(want)
			ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
			defer cancel()
			for instance := 0; ; instance++ {
				if got := h.committedValues("out"); len(got) >= n {
					if !slices.Equal(got, want) {
						t.Fatalf("%d records, %v", len(got), got)
					}
					break
				}
				s, err := kgo.NewGroupTransactSession(append(opts, kgo.SeedBrokers(h.addr), kgo.TransactionalID(fmt.Sprint("double", instance%2)),
					kgo.ConsumerGroup("doublers"), kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
					kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(2000),
					kgo.MetadataMinAge(50*time.Millisecond))...)
				if err != nil {
					t.Fatal(err)
				}
				for round := range 4 {
					polling, stop := context.WithTimeout(ctx, time.Second)
					fetches := s.PollFetches(polling)
					stop()
					if ctx.Err() != nil {
						t.Fatal(ctx.Err())
					}
					if err := s.Begin(); err != nil {
						t.Fatal(err)
					}
					fetches.EachRecord(func(r *kgo.Record) {
						s.Produce(ctx, &kgo.Record{Topic: "out", Value: []byte(fmt.Sprint(string(r.Value), string(r.Value)))}, func(_ *kgo.Record, err error) {
							if err != nil && !errors.Is(err, kgo.ErrAborting) {
								t.Error(err)
							}
						})
					})
					if _, err := s.End(ctx, kgo.TransactionEndTry(round != 1)); err != nil {
						t.Fatal(err)
					}
				}
				s.Close()
			}
		})
	}
}

// TestZombieIsFenced has two kgo clients with one transactional id: the first can neither produce nor commit any more.
func TestZombieIsFenced(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 1)
	begin := func(value string) (*kgo.Client, error) {
		p := h.client(kgo.TransactionalID("tx"))
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		return p, p.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr()
	}
	zombie, err := begin("zombie")
	if err != nil {
		t.Fatal(err)
	}
	young, err := begin("young")
	if err != nil {
		t.Fatal(err)
	}
	if err := zombie.EndTransaction(t.Context(), kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("the zombie's commit: %v", err)
	}
	if err := young.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := h.committedValues("orders"); !slices.Equal(got, []string{"young"}) {
		t.Errorf("committed: %v", got)
	}
	listed, err := kadm.NewClient(h.client()).ListTransactions(t.Context(), nil, []string{"CompleteCommit"})
	if ids := slices.Collect(maps.Keys(listed)); err != nil || strings.Join(ids, " ") != "tx" {
		t.Errorf("listed: %v, %v", ids, err)
	}
}

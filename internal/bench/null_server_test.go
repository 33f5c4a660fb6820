package bench

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Case: 1,000 records go in, batches of them are kept, and a consumer reads 5,000: the same again and again, at offsets
// that go on without a gap.
func TestTheNullSourceHasNoEnd(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		n := &NullServer{KeepBytes: 1 << 20}
		e := nullEndpoint(t, n, partitions)
		l := Load{RecordBytes: 100, Keys: 50, BatchBytes: 5_000}
		if err := Fill(t.Context(), e, "t", l, 1000, nil); err != nil {
			t.Fatal(err)
		}
		if _, there, err := e.Describe(t.Context(), "t"); err != nil || there != 1000 {
			t.Fatalf("%d records there: %v", there, err)
		}
		client, err := e.Client(t.Context(), append(Consume{Topic: "t", Partitions: partitions}.options(), kgo.FetchMaxPartitionBytes(20_000))...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		next := map[int32]int64{}
		for read := 0; read < 5000; {
			fetches := client.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != next[r.Partition] {
					t.Fatalf("partition %d goes on at %d, want %d", r.Partition, r.Offset, next[r.Partition])
				}
				if len(r.Value) != 100 || len(r.Key) == 0 {
					t.Fatalf("a record of %d bytes, key %q", len(r.Value), r.Key)
				}
				next[r.Partition]++
				read++
			})
		}
	}
}

func TestTheNullServerForgetsATopic(t *testing.T) {
	n := &NullServer{KeepBytes: 1 << 20}
	e := nullEndpoint(t, n, 2)
	if err := Fill(t.Context(), e, "t", Load{RecordBytes: 10}, 100, nil); err != nil {
		t.Fatal(err)
	}
	if n.keptBytes == 0 {
		t.Error("nothing was kept")
	}
	if err := e.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if partitions, _, err := e.Describe(t.Context(), "t"); err != nil || partitions != 0 || n.keptBytes != 0 {
		t.Errorf("%d partitions, %d bytes left: %v", partitions, n.keptBytes, err)
	}
}

// Case: readers of each kind against a source that is known.
func TestReaders(t *testing.T) {
	e := nullEndpoint(t, &NullServer{KeepBytes: 1 << 20}, 2)
	if err := Fill(t.Context(), e, "t", Load{RecordBytes: 100, Keys: 10}, 500, nil); err != nil {
		t.Fatal(err)
	}
	m, err := Consume{Topic: "t", Records: 2000, Partitions: 2}.Run(t.Context(), e, nil)
	if err != nil || m.Records < 2000 || m.Bytes != m.Records*(100+int64(len("order/00000000"))) {
		t.Errorf("consumed %d records, %d bytes: %v", m.Records, m.Bytes, err)
	}
	m, err = FanOut{"t", 3, 0, 300 * time.Millisecond}.Run(t.Context(), e, nil)
	if err != nil || m.Records == 0 || m.Bytes < m.Records*100 {
		t.Errorf("fanned out %d records, %d bytes: %v", m.Records, m.Bytes, err)
	}
	if _, err := (FanOut{"nope", 1, 0, time.Millisecond}).Run(t.Context(), e, nil); err == nil {
		t.Error("an unknown topic is read")
	}
}

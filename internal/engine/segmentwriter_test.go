package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// flushAndEvict writes what makes a large write, and of partitions with little only what the budget requires, largest
// first.
func TestFlushLeavesLittleForLater(t *testing.T) {
	const partitions, budget = 80, 80 * minBudgetBytes // as nobody reads
	e := openMem(t, func(c *Config) { c.TailBytes = 2 * budget })
	topic := makeTopic(t, e, "orders", partitions)
	fill := func(partition int32, bytes int) int64 {
		t.Helper()
		a := appendNow(e, Partition{Topic: topic.ID, Index: partition}, newBatch(-1, -1, strings.Repeat("a", bytes)))
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		return e.topics.parts.get(Partition{Topic: topic.ID, Index: partition}).log.Unwritten()
	}
	flush := func() {
		t.Helper()
		if err := e.segments.flushAndEvict(); err != nil {
			t.Fatal(err)
		}
	}
	unwritten := func(partition int32) int64 {
		return e.topics.parts.get(Partition{Topic: topic.ID, Index: partition}).log.Unwritten()
	}

	fill(0, largeWriteBytes)
	little := fill(1, 1000)
	flush()
	if got := unwritten(0); got != 0 {
		t.Errorf("%d bytes were left of what makes a large write", got)
	}
	if got := unwritten(1); got != little {
		t.Errorf("%d bytes are left in memory only, want %d", got, little)
	}

	sum := little
	for i := range int32(60) {
		bytes := 150<<10 + int(i)<<10
		fill(10+i, bytes)
		sum += int64(bytes)
	}
	if sum < budget {
		t.Fatalf("%d bytes are too little to exceed the budget", sum)
	}
	flush()
	_, left := unwrittenParts(e.allParts())
	if left > budget || left < budget-largeWriteBytes {
		t.Errorf("%d bytes are left in memory only, want little less than %d", left, budget)
	}
	if unwritten(69) != 0 || unwritten(10) == 0 || unwritten(1) == 0 {
		t.Errorf("left: %d of the largest, %d of the smallest large one, %d of the smallest; the largest go first", unwritten(69), unwritten(10), unwritten(1))
	}
}

// Case: while consumers read the newest records all of the memory is used for them; when none has read for a while, a
// sixteenth of it is kept for the next one.
func TestTailIsKeptForConsumers(t *testing.T) {
	const most = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		e := openMem(t, func(c *Config) { c.TailBytes = most })
		id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
		fill := func(bytes int) {
			t.Helper()
			for range bytes / 1000 {
				if a := appendNow(e, id, newBatch(-1, -1, strings.Repeat("a", 1000))); a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			synctest.Wait()
		}
		keeps := func(when string, least, limit int64) {
			t.Helper()
			if got := e.topics.parts.get(id).log.TailBytes(); got < least || got > limit {
				t.Errorf("%s: %d bytes are in memory, want %d to %d", when, got, least, limit)
			}
		}
		read := func() {
			t.Helper()
			end := e.topics.parts.get(id).end()
			got := e.Fetch(t.Context(), FetchRequest{Partitions: []FetchPartition{{Partition: id, Offset: end - 1, MaxBytes: 1, LeaderEpoch: -1}}, MaxBytes: 1}, nil)
			if got[0].Err != nil || len(got[0].Records) != 1 {
				t.Fatalf("%+v", got[0])
			}
		}
		fill(2 * most)
		keeps("before anybody reads", most/32, most/8)

		read()
		fill(2 * most)
		keeps("while somebody reads", most/2, most+most/8)

		time.Sleep(unreadAfter - time.Second)
		fill(2 * most)
		keeps("shortly after", most/2, most+most/8)

		time.Sleep(2 * time.Second)
		fill(2 * most)
		keeps("after a while", most/32, most/8)
	})
}

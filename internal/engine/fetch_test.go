package engine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
)

func longPoll(id Partition, offset int64, wait time.Duration) FetchRequest {
	return FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: wait,
		Partitions: []FetchPartition{{Partition: id, Offset: offset, MaxBytes: 1 << 20, LeaderEpoch: -1}}}
}

// Case: a fetch at the end of a log waits, without anything ticking, until an append to its partition, and to no other,
// wakes it. The bubble's clock proves it: it moves only when every goroutine waits for a time.
func TestFetchIsWokenByItsAppendAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openMem(t, nil)
		topic := makeTopic(t, e, "orders", 2)
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			appendNow(e, Partition{Topic: topic.ID, Index: 1}, newBatch(-1, -1, "to another partition"))
			time.Sleep(time.Minute)
			appendNow(e, Partition{Topic: topic.ID, Index: 0}, newBatch(-1, -1, "to this one"))
		}()
		got := e.Fetch(t.Context(), longPoll(Partition{Topic: topic.ID, Index: 0}, 0, time.Hour), nil)
		if waited := time.Since(began); waited != 2*time.Minute {
			t.Errorf("it waited %v, want 2m", waited)
		}
		if got[0].Err != nil || len(got[0].Records) != 1 || got[0].HighWatermark != 1 {
			t.Errorf("got %+v", got[0])
		}
	})
}

// Case: what else ends a long poll.
func TestFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openMem(t, nil)
		topic := makeTopic(t, e, "orders", 1)
		id := Partition{Topic: topic.ID, Index: 0}
		began := time.Now()

		// Case: its time is over.
		if got := e.Fetch(t.Context(), longPoll(id, 0, time.Second), nil); got[0].Err != nil || time.Since(began) != time.Second {
			t.Errorf("timeout: %+v after %v", got[0], time.Since(began))
		}
		// Case: the client goes away.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := e.Fetch(ctx, longPoll(id, 0, time.Hour), nil); got[0].Err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("cancelled: %+v after %v", got[0], time.Since(began))
		}
		// Case: fewer bytes come than it wants.
		go func() {
			time.Sleep(time.Second)
			appendNow(e, id, newBatch(-1, -1, "one"))
		}()
		few := longPoll(id, 0, time.Minute)
		few.MinBytes = 1 << 20
		if got := e.Fetch(t.Context(), few, nil); len(got[0].Records) != 1 || time.Since(began) != time.Minute+2*time.Second {
			t.Errorf("few bytes: %+v after %v", got[0], time.Since(began))
		}
		// Case: the topic is deleted.
		go func() {
			time.Sleep(time.Second)
			if err := e.DeleteTopic(t.Context(), topic.ID); err != nil {
				t.Error(err)
			}
		}()
		if got := e.Fetch(t.Context(), longPoll(id, 1, time.Hour), nil); !errors.Is(got[0].Err, ErrUnknownTopic) {
			t.Errorf("deleted: %+v", got[0])
		}
		// Case: the engine closes.
		topic = makeTopic(t, e, "again", 1)
		go func() {
			time.Sleep(time.Second)
			e.Close()
		}()
		if got := e.Fetch(t.Context(), longPoll(Partition{Topic: topic.ID, Index: 0}, 0, time.Hour), nil); !errors.Is(got[0].Err, ErrClosed) {
			t.Errorf("closed: %+v", got[0])
		}
	})
}

// Case: errors are answered at once, beside what the other partitions have.
func TestFetchErrors(t *testing.T) {
	e := openMem(t, nil)
	topic := makeTopic(t, e, "orders", 1)
	id := Partition{Topic: topic.ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, "a", "b"))
	ask := func(p Partition, offset int64, epoch int32) FetchPartition {
		return FetchPartition{Partition: p, Offset: offset, MaxBytes: 1 << 20, LeaderEpoch: epoch}
	}
	got := e.Fetch(t.Context(), FetchRequest{MaxBytes: 1 << 20, MinBytes: 1 << 20, MaxWait: time.Hour, Partitions: []FetchPartition{
		ask(id, 1, -1), ask(id, 3, -1), ask(id, -1, -1), ask(id, 0, 7), ask(Partition{Topic: topic.ID, Index: 5}, 0, -1),
		ask(Partition{Topic: meta.TopicID{1}, Index: 0}, 0, -1),
	}}, nil)
	for i, want := range []error{nil, ErrOffsetOutOfRange, ErrOffsetOutOfRange, ErrUnknownEpoch, ErrUnknownPartition, ErrUnknownTopic} {
		if !errors.Is(got[i].Err, want) {
			t.Errorf("partition %d: %v, want %v", i, got[i].Err, want)
		}
	}
	if len(got[0].Records) != 1 { // the whole batch, although the offset lies inside it
		t.Errorf("offset 1: %+v", got[0])
	}
}

// Case: MaxBytes holds over all partitions, but the first batch always comes.
func TestFetchLimits(t *testing.T) {
	e := openMem(t, nil)
	topic := makeTopic(t, e, "orders", 3)
	var asked []FetchPartition
	for i := range topic.Partitions {
		id := Partition{Topic: topic.ID, Index: i}
		for range 5 {
			appendNow(e, id, newBatch(-1, -1, "some hundred bytes or so, together with the head of the batch"))
		}
		asked = append(asked, FetchPartition{Partition: id, MaxBytes: 300, LeaderEpoch: -1})
	}
	count := func(maxBytes int) (n []int) {
		for _, f := range e.Fetch(t.Context(), FetchRequest{MaxBytes: maxBytes, Partitions: asked}, nil) {
			n = append(n, f.SizeBytes())
		}
		return n
	}
	one := count(1)
	if one[0] == 0 || one[1] != 0 || one[2] != 0 {
		t.Errorf("at most 1 byte: %v, want the first batch alone", one)
	}
	batchBytes := one[0]
	if got := count(1 << 20); got[0] != got[2] || got[0] > 300 || got[0] < batchBytes {
		t.Errorf("300 bytes of each: %v", got)
	}
	if got := count(batchBytes + 10); got[0] != batchBytes || got[1] != 0 {
		t.Errorf("room for one batch: %v", got)
	}
}

// Case: readers that follow the end closely, while appends come, never go past what the broker calls the end. Log and
// high watermark were once two variables, and between the two a reader was out of range.
func TestReaderAtTheEndIsNeverOutOfRange(t *testing.T) {
	e := openMem(t, nil)
	topic := makeTopic(t, e, "orders", 1)
	id := Partition{Topic: topic.ID, Index: 0}
	const appends, batches = 200, 300 // many batches an append, so that a reader can come between two of them
	records := bytes.Repeat(newBatch(-1, -1, "x"), batches)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for offset := int64(0); offset < appends*batches; {
				got := e.Fetch(t.Context(), longPoll(id, offset, time.Second), nil)[0]
				if got.Err != nil {
					t.Errorf("at offset %d: %v", offset, got.Err)
					return
				}
				for _, piece := range got.Records {
					for v := range batch.Split(piece) {
						offset = v.NextOffset()
					}
				}
			}
		})
	}
	for range appends {
		appendNow(e, id, records)
	}
	readers.Wait()
}

// countedBudget is a ReadBudget that gives all that is asked for until it is used up.
type countedBudget struct{ left atomic.Int64 }

func (b *countedBudget) Take(wantBytes int) int {
	if b.left.Load() <= 0 {
		return 0
	}
	b.left.Add(-int64(wantBytes))
	return wantBytes
}

func (b *countedBudget) Return(bytes int) { b.left.Add(int64(bytes)) }

// Case: of the budget, a fetch keeps just the bytes of the records that it returns, however often it reads. When the budget is
// used up, a fetch reads nothing and does not wait.
func TestFetchKeepsToItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openMem(t, nil)
		topic := makeTopic(t, e, "orders", 2)
		ids := []Partition{{Topic: topic.ID, Index: 0}, {Topic: topic.ID, Index: 1}}
		req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 2000, MaxWait: time.Minute}
		for _, id := range ids {
			req.Partitions = append(req.Partitions, FetchPartition{Partition: id, MaxBytes: 1 << 20, LeaderEpoch: -1})
		}
		const all = 4 << 20
		var budget countedBudget
		budget.left.Store(all)
		req.Budget = &budget
		go func() { // the fetch reads after each
			for i := range 40 {
				appendNow(e, ids[i%2], newBatch(-1, -1, strings.Repeat("x", 50)))
				time.Sleep(time.Second)
			}
		}()
		go func() { // what a fetch has read does not take memory while it waits for more
			time.Sleep(10*time.Second + time.Millisecond)
			if left := budget.left.Load(); left != all {
				t.Errorf("a fetch that waits holds %d bytes", all-left)
			}
		}()
		got := e.Fetch(t.Context(), req, nil)
		records := got[0].InMemoryBytes() + got[1].InMemoryBytes()
		if kept := all - budget.left.Load(); records < 2000 || kept != int64(records) {
			t.Errorf("%d bytes of records took %d of the budget", records, kept)
		}
		time.Sleep(time.Minute)

		// Case: too few are there when the time is over.
		budget.left.Store(all)
		req.MinBytes = 1 << 20
		got = e.Fetch(t.Context(), req, nil)
		records = got[0].InMemoryBytes() + got[1].InMemoryBytes()
		if kept := all - budget.left.Load(); records < 4000 || kept != int64(records) {
			t.Errorf("%d bytes of records took %d of the budget when the time was over", records, kept)
		}

		budget.left.Store(0)
		began := time.Now()
		got = e.Fetch(t.Context(), req, nil)
		if n := got[0].InMemoryBytes() + got[1].InMemoryBytes(); n != 0 || got[0].Err != nil || budget.left.Load() != 0 || time.Since(began) != 0 {
			t.Errorf("%d bytes of records after %v, the budget has %d, error %v", n, time.Since(began), budget.left.Load(), got[0].Err)
		}
	})
}

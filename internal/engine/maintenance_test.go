package engine

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Case: while a checkpoint waits for the disk, at each sync of a segment, appends to all partitions are answered.
func TestCheckpointDoesNotHoldUpAppends(t *testing.T) {
	const partitions = 20
	var checkpoint atomic.Bool
	syncing, goOn := make(chan string), make(chan struct{})
	e := openWith(t, Config{JournalFileBytes: 1 << 20, FS: vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.HasPrefix(op.Name, datadir.TopicsDir) && checkpoint.Load() {
			syncing <- op.Name
			<-goOn
		}
		return nil
	})})
	topic := makeTopic(t, e, "orders", partitions)
	appendToAll := func() {
		for i := range int32(partitions) {
			if a := appendNow(e, Partition{Topic: topic.ID, Index: i}, newBatch(-1, -1, "dirty")); a.Err != nil {
				t.Error(a.Err)
			}
		}
	}
	appendToAll()
	done := make(chan error)
	checkpoint.Store(true)
	go func() {
		err := e.maintenance.checkpoint(true)
		checkpoint.Store(false)
		done <- err
	}()
	for syncs := 0; ; syncs++ {
		select {
		case err := <-done:
			if err != nil || syncs < partitions && !t.Failed() {
				t.Errorf("a checkpoint of %d syncs: %v", syncs, err)
			}
			return
		case name := <-syncing:
			answered := make(chan struct{})
			go func() {
				appendToAll()
				close(answered)
			}()
			select {
			case <-answered:
			case <-time.After(20 * time.Second):
				t.Errorf("an append waits for the sync of %s", name)
				checkpoint.Store(false) // the rest goes undisturbed
			}
			goOn <- struct{}{}
			<-answered
		}
	}
}

// Case: checkpoints come by themselves as the journal grows, so that it stays bounded, and so does the memory that tails
// take, however much is appended.
func TestJournalAndTailStayBounded(t *testing.T) {
	e := openMem(t, func(c *Config) {
		c.CheckpointBytes, c.TailBytes, c.JournalFileBytes, c.MaxPendingBytes = 256<<10, 128<<10, 64<<10, 256<<10
	})
	topic := makeTopic(t, e, "orders", 8)
	value := strings.Repeat("x", 1000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var mostJournal, mostTail int64
	for i := range topic.Partitions {
		wg.Go(func() {
			for range 1000 {
				appendNow(e, Partition{Topic: topic.ID, Index: i}, newBatch(-1, -1, value))
				// The partitions are looked at one after the other, and some may be evicted from in between: the sum may be too
				// high, but hardly twice.
				held := min(heldBytes(e), heldBytes(e))
				mu.Lock()
				mostJournal, mostTail = max(mostJournal, e.journal.SizeBytes()), max(mostTail, held)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("8 MB appended: journal at most %d KiB, tails at most %d KiB", mostJournal>>10, mostTail>>10)
	// With eight partitions half of so small a budget may come in while flushAndEvict is at work; and an append that was
	// admitted before the limit was reached adds one batch more.
	if mostTail > e.config.TailBytes*3/2+int64(topic.Partitions)*2000 {
		t.Errorf("tails took %d bytes of a budget of %d", mostTail, e.config.TailBytes)
	}
	// Three stretches stand while a checkpoint is under way: of two that may be needed, and of what came since. Appends
	// are let in to each until it has twice what should lie between checkpoints.
	if most := 3*(2*e.config.CheckpointBytes+e.config.MaxPendingBytes) + 2*e.config.JournalFileBytes; mostJournal > most {
		t.Errorf("the journal grew to %d bytes, more than %d, with checkpoints every %d", mostJournal, most, e.config.CheckpointBytes)
	}
	for i := range topic.Partitions {
		if got, _, err := readLog(e, Partition{Topic: topic.ID, Index: i}); err != nil || len(got) != 1000 {
			t.Errorf("partition %d: %d records, %v", i, len(got), err)
		}
	}
}

// heldBytes returns the sum of the bytes that the tails of all partitions take.
func heldBytes(e *Engine) (held int64) {
	for _, p := range e.allParts() {
		held += p.log.TailBytes()
	}
	return held
}

// Case: an engine has three goroutines (journal, segment writer, maintenance), and a fourth for moments, however many
// partitions it has and fetches have come.
func TestFewGoroutines(t *testing.T) { synctest.Test(t, testFewGoroutines) }

func testFewGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	e := openMem(t, nil)
	for i := range 20 {
		topic := makeTopic(t, e, fmt.Sprint("topic-", i), 4)
		appendNow(e, Partition{Topic: topic.ID, Index: 0}, newBatch(-1, -1, "a"))
	}
	if n := runtime.NumGoroutine() - before; n > 4 {
		t.Errorf("%d goroutines", n)
	}
	e.Close()
	synctest.Wait()
	left := func() int { return runtime.NumGoroutine() - before }
	for range 1000 { // a goroutine that has returned counts for a moment more
		if left() <= 0 { // one from before the test may have returned, too
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines are left after Close", left())
}

// BenchmarkAppend is the durable append on a real disk, without any protocol: one record of 1 KiB at a time.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			disk, err := vfs.Disk(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			e := openWith(b, Config{FS: disk})
			topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "orders", Partitions: 16}, false)
			if err != nil {
				b.Fatal(err)
			}
			records := newBatch(-1, -1, strings.Repeat("x", 1024))
			b.SetParallelism(callers / runtime.GOMAXPROCS(0))
			if callers == 1 {
				for b.Loop() {
					appendNow(e, Partition{Topic: topic.ID, Index: 0}, records)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for i := int32(0); pb.Next(); i++ {
					appendNow(e, Partition{Topic: topic.ID, Index: i % 16}, records)
				}
			})
		})
	}
}

// Case: whoever gets the answer to an entry may close the engine at once: the entry is counted by then, and not left to
// be replayed. The answers are taken where they are given, on the committing goroutine, which cannot go on before.
func TestAnsweredIsCounted(t *testing.T) { synctest.Test(t, testAnsweredIsCounted) }

func testAnsweredIsCounted(t *testing.T) {
	e := openMem(t, nil)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	settle := func() (applied uint64) {
		t.Helper()
		if err := e.maintenance.checkpoint(false); err != nil || e.maintenance.pendingBytes.Load() != 0 {
			t.Fatalf("a checkpoint leaves %d bytes: %v", e.maintenance.pendingBytes.Load(), err)
		}
		return e.commits.applied.Load()
	}

	before := settle()
	counted := make(chan bool, 1)
	e.Append(id, newBatch(-1, -1, "a"), func(Appended) { counted <- e.maintenance.pendingBytes.Load() > 0 && e.commits.applied.Load() > before })
	if !<-counted {
		t.Error("an append is answered before it is counted")
	}

	before = settle()
	answer := make(chan any) // has no room, so that the answer is not over before it is taken
	e.groups.step(group.Commit{Ticket: answer, CommitRequest: group.CommitRequest{Group: "billing", Generation: -1,
		Offsets: map[group.TopicPartition]group.Committed{{Topic: "orders"}: {Offset: 1, LeaderEpoch: -1}}}})
	synctest.Wait() // the committing goroutine is about to answer
	if e.maintenance.pendingBytes.Load() == 0 || e.commits.applied.Load() == before {
		t.Error("a position is answered before it is counted")
	}
	<-answer
}

package engine

import (
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

var fullSeed = flag.Uint64("full.seed", 0, "seed of TestFullDiskAndPowerCuts; 0: a new one each time")

// smallDisk opens an engine on a disk that soon is full.
func smallDisk(t *testing.T, fs vfs.FS) *Engine {
	t.Helper()
	return openWith(t, fullConfig(fs))
}

func fullConfig(fs vfs.FS) Config {
	return Config{FS: fs, JournalFileBytes: 64 << 10, CheckpointBytes: 128 << 10, TailBytes: 64 << 10, SegmentBytes: 32 << 10,
		RoomInterval: time.Millisecond}
}

// fillUp appends batches of an idempotent producer until the disk is full to stay, when a checkpoint has freed what it
// could, and returns the sequence that was refused.
func fillUp(t *testing.T, e *Engine, p Partition, pid int64, sequence int32) (refused int32) {
	t.Helper()
	for ; ; sequence++ {
		a := appendNow(e, p, newBatch(pid, sequence, payload("full", int(sequence))+string(make([]byte, 1000))))
		switch {
		case errors.Is(a.Err, ErrFull) && errors.Is(a.Err, ErrStorage):
			if time.Sleep(50 * time.Millisecond); e.Full() != nil {
				return sequence
			}
			sequence-- // again
		case a.Err != nil || a.BaseOffset != int64(sequence):
			t.Fatalf("sequence %d: %+v", sequence, a)
		case sequence > 20_000:
			t.Fatal("the disk never gets full")
		}
	}
}

// fullDisk is the story of a disk that gets full and has room again, on any file system of a few MiB.
func fullDisk(t *testing.T, fs vfs.FS) {
	e := smallDisk(t, fs)
	ballast := Partition{makeTopic(t, e, "ballast", 1).ID, 0}
	for i := range int32(600) {
		if a := appendNow(e, ballast, newBatch(-1, -1, payload("ballast", int(i))+string(make([]byte, 1000)))); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	id := Partition{makeTopic(t, e, "orders", 1).ID, 0}
	refused := fillUp(t, e, id, 7, 0)
	if refused < 100 {
		t.Fatalf("only %d appends before the disk is full: the test is too small", refused)
	}

	// Case: reads and positions go on; what would take room is refused with the reason, and nothing is fenced.
	tp := group.TopicPartition{Topic: "orders"}
	for offset := range int64(20) {
		if err := e.Commit(noWait, group.CommitRequest{Group: "billing", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
			tp: {Offset: offset, LeaderEpoch: -1}}})[tp]; err != nil {
			t.Fatalf("commit %d: %v", offset, err)
		}
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused) {
		t.Errorf("%d records, %v; want %d", len(got), err, refused)
	}
	if _, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "more"}, false); !errors.Is(err, ErrFull) {
		t.Errorf("a new topic: %v", err)
	}
	if e.Err() != nil || e.Full() == nil {
		t.Errorf("Err %v, Full %v", e.Err(), e.Full())
	}

	// Case: it opens while it is full, and is full still.
	e.Close()
	e = smallDisk(t, fs)
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused) {
		t.Errorf("after a restart: %d records, %v; want %d", len(got), err, refused)
	}
	refused = fillUp(t, e, id, 7, refused)

	// Case: a topic is deleted, and appends go on by themselves, with the batch that was refused in its place.
	if err := e.DeleteTopic(noWait, ballast.Topic); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); e.Full() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still full: %v", e.Full())
		}
	}
	for sequence := refused; sequence < refused+50; sequence++ {
		if a := appendNow(e, id, newBatch(7, sequence, payload("full", int(sequence)))); a.Err != nil || a.BaseOffset != int64(sequence) {
			t.Fatalf("sequence %d: %+v", sequence, a)
		}
	}
	if got, _ := e.FetchOffsets("billing", nil); got[tp].Offset != 19 {
		t.Errorf("positions: %v", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = smallDisk(t, fs)
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused)+50 {
		t.Errorf("at the end: %d records, %v; want %d", len(got), err, refused+50)
	}
	if got, _ := e.FetchOffsets("billing", nil); got[tp].Offset != 19 {
		t.Errorf("positions: %v", got)
	}
}

func TestFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	disk.LimitBytes(2 << 20)
	fullDisk(t, disk)
}

// Case: the same on a real file system of 4 MiB.
func TestFullTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := mountTmpfs(t, dir, 4<<20); err != nil {
		t.Skipf("a tmpfs can't be mounted here: %v", err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	disk, err := vfs.Disk(data)
	if err != nil {
		t.Fatal(err)
	}
	fullDisk(t, disk)
}

// Case: the disk gets full and has room again at random moments, while producers in every mode go on sending what was
// refused, and then the power fails. What was acknowledged is there; nothing is there twice.
func TestFullDiskAndPowerCuts(t *testing.T) {
	seed := *fullSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedule of goroutines differs): go test ./internal/engine -run TestFullDiskAndPowerCuts -full.seed=%d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 3))
	refused := 0
	for round := 0; round < 12 && !t.Failed(); round++ {
		disk, book := vfs.NewMem(), &ledger{}
		config := cutConfig(disk)
		config.RoomInterval = 200 * time.Microsecond
		e, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var producers sync.WaitGroup
		var mu sync.Mutex
		for i, mode := range []meta.Durability{meta.Sync, meta.Interval, meta.OS, meta.Memory, meta.Sync} {
			topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: fmt.Sprintf("%s-%d", mode, i), Partitions: 1,
				Configs: map[string]string{meta.DurabilityMode: string(mode), meta.DurabilityInterval: "1"}}, false)
			if err != nil {
				t.Fatal(err)
			}
			book.note(topicMade{topic})
			producers.Go(func() {
				n := untilStopped(t, e, book, topic, int64(100+i), stop)
				mu.Lock()
				defer mu.Unlock()
				refused += n
			})
		}
		for range 8 {
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
			disk.LimitBytes(disk.UsedBytes() + rng.Int64N(48<<10))
			time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
			disk.LimitBytes(0)
		}
		told := book.moment()
		disk.PowerOff()
		close(stop)
		producers.Wait()
		cut := powerCut{disk.CrashClone(mathrand.New(mathrand.NewSource(int64(seed) + int64(round)))), told}
		e.Close()
		_, broken := cut.check(expect(book.moment()))
		for _, what := range broken {
			t.Errorf("round %d: %s", round, what)
		}
	}
	if refused == 0 {
		t.Error("nothing was ever refused: the test tests nothing")
	}
	t.Logf("%d appends were refused for want of room", refused)
}

// untilStopped is a producer with one batch under way that sends again what was refused for want of room. Any other
// refusal but the end is a fault.
func untilStopped(t *testing.T, e *Engine, book *ledger, topic meta.Topic, pid int64, stop chan struct{}) (refused int) {
	p := Partition{topic.ID, 0}
	for seq := 0; ; {
		values := []string{payload(topic.Name, seq)}
		b := newBatch(pid, int32(seq), values...)
		answered := make(chan error, 1)
		e.Append(p, b, func(a Appended) {
			if a.Err == nil {
				book.note(batchAcked{sentBatch{p, a.BaseOffset, values}})
			}
			answered <- a.Err
		})
		switch err := <-answered; {
		case err == nil:
			seq++
		case errors.Is(err, ErrFull):
			refused++
			time.Sleep(100 * time.Microsecond)
		default:
			if !errors.Is(err, vfs.ErrPowerCut) && !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", topic.Name, err)
			}
			return refused
		}
		select {
		case <-stop:
			return refused
		default:
		}
	}
}

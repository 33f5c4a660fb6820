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

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/faults"
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
		FullDiskRetry: time.Millisecond}
}

// fillUp appends batches of an idempotent producer until the disk is full to stay, when a checkpoint has freed what it
// could, and returns the sequence that was refused.
func fillUp(t *testing.T, e *Engine, p Partition, pid int64, sequence int32) (refused int32) {
	t.Helper()
	for ; ; sequence++ {
		a := appendNow(e, p, newBatch(pid, sequence, faults.Payload("full", int(sequence))+string(make([]byte, 1000))))
		switch {
		case errors.Is(a.Err, ErrFull) && errors.Is(a.Err, ErrStorage):
			if err := e.maintenance.runTask(t.Context(), e.maintenance.leaveDiskFull); err != nil {
				t.Fatal(err)
			}
			if e.Full() != nil {
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

// fillWithOrders writes about 600 KB to a topic "ballast", which a test may delete, and then fills the disk with a topic
// "orders". It returns the partition of orders, the id of ballast and the sequence that producer 7 was refused.
func fillWithOrders(t *testing.T, e *Engine) (orders Partition, ballast meta.TopicID, refused int32) {
	t.Helper()
	ballast = makeTopic(t, e, "ballast", 1).ID
	for i := range 600 {
		if a := appendNow(e, Partition{Topic: ballast}, newBatch(-1, -1, faults.Payload("ballast", i)+string(make([]byte, 1000)))); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	orders = Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	return orders, ballast, fillUp(t, e, orders, 7, 0)
}

// fullDisk is the story of a disk that gets full and has room again, on any file system of a few MiB.
func fullDisk(t *testing.T, fs vfs.FS) {
	e := smallDisk(t, fs)
	id, ballast, refused := fillWithOrders(t, e)
	if refused < 100 {
		t.Fatalf("only %d appends before the disk is full: the test is too small", refused)
	}

	// Case: reads and positions go on; what would take room is refused with the reason, and nothing is fenced.
	tp := group.TopicPartition{Topic: "orders"}
	for offset := range int64(20) {
		if err := commitNow(e, "orders", offset); err != nil {
			t.Fatalf("commit %d: %v", offset, err)
		}
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused) {
		t.Errorf("%d records, %v; want %d", len(got), err, refused)
	}
	var err error
	for i := 0; i < 20 && err == nil; i++ { // a checkpoint may have made room by itself
		refused = fillUp(t, e, id, 7, refused)
		_, err = e.CreateTopic(noWait, meta.TopicSpec{Name: fmt.Sprint("more-", i)}, false)
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("a new topic: %v", err)
	}
	if e.Err() != nil {
		t.Errorf("it is fenced: %v", e.Err())
	}

	// Case: it opens while it is full, and is full still.
	e.Close()
	e = smallDisk(t, fs)
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused) {
		t.Errorf("after a restart: %d records, %v; want %d", len(got), err, refused)
	}
	refused = fillUp(t, e, id, 7, refused)

	// Case: a topic is deleted, and appends go on by themselves, with the batch that was refused in its place.
	if err := e.DeleteTopic(noWait, ballast); err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, e)
	for sequence := refused; sequence < refused+50; sequence++ {
		if a := appendNow(e, id, newBatch(7, sequence, faults.Payload("full", int(sequence)))); a.Err != nil || a.BaseOffset != int64(sequence) {
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

// commitNow commits a position of group billing.
func commitNow(e *Engine, topic string, offset int64) error {
	tp := group.TopicPartition{Topic: topic}
	return e.Commit(noWait, group.CommitRequest{Group: "billing", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
		tp: {Offset: offset, LeaderEpoch: -1}}})[tp]
}

func awaitRoom(t *testing.T, e *Engine) {
	t.Helper()
	eventually(t, "the disk has room again", func() bool { return e.Full() == nil })
}

// Case: so many positions are committed on a full disk that what is kept back for them is used up. They are refused like
// everything else and nothing is fenced; a topic can be deleted even so, and then all goes on.
func TestFullDiskToTheEnd(t *testing.T) {
	disk := vfs.NewMem()
	disk.LimitBytes(2 << 20)
	e := smallDisk(t, disk)
	id, ballast, refused := fillWithOrders(t, e)
	disk.LimitBytes(disk.UsedBytes()) // what little a checkpoint frees does not count

	var acked int64
	for err := error(nil); err == nil; acked++ {
		if err = commitNow(e, "orders", acked+1); err != nil {
			if !errors.Is(err, ErrFull) || !errors.Is(err, ErrStorage) {
				t.Fatal(err)
			}
			break
		}
		if acked > 100_000 {
			t.Fatal("positions are taken for ever")
		}
	}
	if acked < 20 {
		t.Errorf("only %d positions were taken", acked)
	}
	if e.Err() != nil || e.Full() == nil {
		t.Fatalf("Err %v, Full %v", e.Err(), e.Full())
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != int(refused) {
		t.Errorf("%d records, %v; want %d", len(got), err, refused)
	}
	if err := e.DeleteTopic(noWait, ballast); err != nil {
		t.Fatalf("a topic can't be deleted: %v", err)
	}
	disk.LimitBytes(2 << 20)
	awaitRoom(t, e)
	if err := commitNow(e, "orders", acked+1); err != nil {
		t.Error(err)
	}
	if a := appendNow(e, id, newBatch(7, refused, faults.Payload("full", int(refused)))); a.Err != nil || a.BaseOffset != int64(refused) {
		t.Errorf("an append: %+v", a)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = smallDisk(t, disk)
	if got, _ := e.FetchOffsets("billing", nil); got[group.TopicPartition{Topic: "orders"}].Offset != acked+1 {
		t.Errorf("positions: %v, want %d", got, acked+1)
	}
}

// Case: the very last room in the journal is used by the deletion of a topic, and the removal of its positions has none.
// They are removed before anything else goes on, or by the next start: a topic made again never finds them.
func TestPositionsOfADeletedTopicOnAFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	config := fullConfig(disk)
	config.FullDiskRetry = time.Hour // nothing is tried in between
	e := openWith(t, config)
	topic := makeTopic(t, e, "orders", 1)
	if err := commitNow(e, "orders", 7); err != nil {
		t.Fatal(err)
	}
	spend := func(atMost int) (spent int) { // frames of what is left
		for ; spent < atMost; spent++ {
			if err := e.commit(datadir.KindBarrier, nil); errors.Is(err, ErrFull) {
				return spent
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return spent
	}
	disk.LimitBytes(disk.UsedBytes())
	if spend(10_000) == 10_000 {
		t.Fatal("the disk never gets full")
	}
	const little = 16 << 10
	disk.LimitBytes(disk.UsedBytes() + little)
	inLittle := spend(10_000)
	disk.LimitBytes(disk.UsedBytes() + little)
	spend(inLittle - 1)

	if err := e.DeleteTopic(noWait, topic.ID); err != nil {
		t.Fatal(err)
	}
	if spend(1) != 0 || e.groups.pendingRemovals() == nil { // what follows the removal is answered after it
		t.Fatal("the removal of its positions had room: the test tests nothing")
	}
	if got, _ := e.FetchOffsets("billing", nil); len(got) != 1 {
		t.Errorf("positions that are on the disk are not shown: %v", got)
	}
	if _, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "orders"}, false); !errors.Is(err, ErrFull) {
		t.Errorf("a topic of that name: %v", err)
	}
	cut := disk.CrashClone(mathrand.New(mathrand.NewSource(1)))

	disk.LimitBytes(0)
	e.maintenance.requestSpaceCheck()
	awaitRoom(t, e)
	for name, e := range map[string]*Engine{"with room again": e, "after a power cut": openWith(t, fullConfig(cut))} {
		makeTopic(t, e, "orders", 1)
		if got, _ := e.FetchOffsets("billing", nil); len(got) != 0 || e.groups.pendingRemovals() != nil {
			t.Errorf("%s: a topic made again has positions: %v", name, got)
		}
	}
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
		config.FullDiskRetry = 200 * time.Microsecond
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
	p := Partition{Topic: topic.ID, Index: 0}
	for seq := 0; ; {
		values := []string{faults.Payload(topic.Name, seq)}
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

package partition

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

var crashSeed = flag.Int64("crash.seed", 0, "replays one power cut of TestPowerCuts")

// TestPowerCuts cuts the power at any step. The log opened from the last checkpoint must be exactly what it was then,
// and with what the journal would bring back, all of it.
func TestPowerCuts(t *testing.T) {
	seeds := []int64{*crashSeed}
	if *crashSeed == 0 {
		seeds = nil
		first := time.Now().UnixNano()
		for i := range int64(400) {
			seeds = append(seeds, first+i)
		}
	}
	for _, seed := range seeds {
		if err := cutPower(seed); err != nil {
			t.Fatalf("%v\nreplay: go test ./internal/partition -run TestPowerCuts -crash.seed=%d", err, seed)
		}
	}
}

func cutPower(seed int64) error {
	rng := rand.New(rand.NewSource(seed))
	disk := vfs.NewMem()
	config := Config{SegmentBytes: 1500 + rng.Int63n(3000), IndexIntervalBytes: 100 + rng.Intn(400), Files: NewFileCache(2 + rng.Intn(4))}
	l, err := Create(disk, "p", config)
	if err != nil {
		return err
	}
	var all journal
	for range 1 + rng.Intn(3) { // crashes
		checkpoint := l.State()
		start := l.Start() // journaled, so it is not lost
		for range rng.Intn(60) {
			var err error
			switch rng.Intn(10) {
			case 0:
				err = l.Flush()
			case 1:
				if err = syncOf(l, rng.Intn(2) == 0); err == nil {
					checkpoint = l.State()
				}
			case 5:
				_, err = l.WriteOut(rng.Int63n(3000))
			case 2:
				l.EvictTail(rng.Int63n(2000))
			case 3:
				l.BumpEpoch(l.Epoch() + 1)
			case 4:
				start = max(start, rng.Int63n(l.End()+1))
				err = l.DeleteBefore(start)
			default:
				all.append(l, 1+rng.Intn(10))
			}
			if err != nil {
				return err
			}
		}
		epochs := l.epochs
		disk = disk.CrashClone(rng)
		config.Files = NewFileCache(2 + rng.Intn(4))
		if l, err = Open(disk, "p", config, checkpoint); err != nil {
			return err
		}
		if l.Start() != checkpoint.Start || l.End() != checkpoint.End {
			return fmt.Errorf("the log is [%d, %d), the checkpoint had [%d, %d)", l.Start(), l.End(), checkpoint.Start, checkpoint.End)
		}
		// The journal: what was appended, begun and deleted since, in whatever order is possible.
		for _, v := range all.batches {
			if v.BaseOffset() >= checkpoint.End {
				l.Append(bytes.Clone(v))
			}
		}
		l.BumpEpoch(epochs.latest())
		if err := l.DeleteBefore(start); err != nil {
			return err
		}
		if damage := l.Damage(); len(damage) > 0 {
			return fmt.Errorf("damage: %v", damage[0])
		}
		for offset := l.Start(); offset < l.End(); {
			pieces, err := l.Read(nil, offset, 1+rng.Intn(4000))
			if err != nil {
				return fmt.Errorf("read at %d of [%d, %d), checkpoint [%d, %d): %w", offset, l.Start(), l.End(), checkpoint.Start, checkpoint.End, err)
			}
			for _, piece := range pieces {
				for v, err := range batch.Split(piece) {
					if err != nil || !bytes.Equal(v, all.holding(offset)) {
						return fmt.Errorf("offset %d has another batch: %v", offset, err)
					}
					offset = v.NextOffset()
				}
			}
		}
		if _, _, _, err := l.OffsetForTime(rng.Int63n(3000)); err != nil {
			return err
		}
	}
	return nil
}

// syncOf syncs a log, at once or as a checkpoint does.
func syncOf(l *Log, atOnce bool) error {
	if atOnce {
		return l.Sync()
	}
	if _, err := l.WriteOut(1 << 20); err != nil {
		return err
	}
	if err := l.AwaitWriteOut(); err != nil {
		return err
	}
	return l.SyncWritten()
}

// TestEveryFault fails every operation of a workload once. The log says so, and goes on or is fenced; nothing that it
// serves is wrong, and its state is always one to start from.
func TestEveryFault(t *testing.T) {
	broken := errors.New("broken")
	workload := func(disk vfs.FS) error {
		l, err := Create(disk, "p", small())
		if err != nil {
			return nil
		}
		var all journal
		var failures []error
		for i := range 6 {
			all.append(l, 15)
			failures = append(failures, l.Flush())
			all.append(l, 10)
			failures = append(failures, syncOf(l, i%2 == 0))
			l.EvictTail(500)
			for offset := l.Start(); offset < l.End(); {
				pieces, err := l.Read(nil, offset, 600)
				if err != nil {
					if !errors.Is(err, broken) {
						return fmt.Errorf("read at %d: %w", offset, err)
					}
					break
				}
				for _, piece := range pieces {
					for v := range batch.Split(piece) {
						if !bytes.Equal(v, all.holding(offset)) {
							return fmt.Errorf("offset %d has another batch", offset)
						}
						offset = v.NextOffset()
					}
				}
			}
			_, _, _, err := l.OffsetForTime(int64(i * 100))
			failures = append(failures, err, l.DeleteBefore(l.Retain(time.Now(), Config{RetentionBytes: 4000})))
		}
		for _, err := range failures {
			if err != nil && !errors.Is(err, broken) {
				return err
			}
		}
		s := l.State()
		if err := l.Close(); err != nil && !errors.Is(err, broken) {
			return err
		}
		l, err = Open(disk, "p", small(), s)
		if errors.Is(err, broken) {
			l, err = Open(disk, "p", small(), s)
		}
		if err != nil {
			return err
		}
		for offset := l.Start(); offset < l.End(); {
			pieces, err := l.Read(nil, offset, 600)
			if errors.Is(err, broken) {
				continue
			}
			if err != nil {
				return fmt.Errorf("after reopening, read at %d: %w", offset, err)
			}
			for _, piece := range pieces {
				for v := range batch.Split(piece) {
					if !bytes.Equal(v, all.holding(offset)) {
						return fmt.Errorf("after reopening, offset %d has another batch", offset)
					}
					offset = v.NextOffset()
				}
			}
		}
		return nil
	}
	count := vfs.NewFaulty(vfs.NewMem(), nil)
	check(t, workload(count))
	for n := int64(1); n <= count.Count(); n++ {
		short := &vfs.ShortWrite{WrittenBytes: 7, Cause: broken}
		for _, fault := range []error{broken, short} {
			var failed vfs.Op
			disk := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
				if o.Nth != n || fault == error(short) && o.Kind != vfs.OpWriteAt {
					return nil
				}
				failed = o
				return fault
			})
			if err := workload(disk); err != nil {
				t.Fatalf("operation %v failed with %v: %v", failed, fault, err)
			}
		}
	}
}

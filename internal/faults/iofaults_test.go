package faults

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	mathrand "math/rand"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// every returns the step of the suites that run through all of something: 1 in CI, more in go test ./..., which runs a
// sample.
var every = flag.Int("faults.every", 40, "TestFailingIO and TestCorruption take one of so many cases; 1: all")

// failures is a way in which operations fail from the nth on.
var failures = []struct {
	name string
	// outcome of an operation that is the nth or later.
	outcome func(op vfs.Op, nth int64) error
}{
	{"EIO", once(func(vfs.Op) error { return syscall.EIO })},
	{"ENOSPC", once(func(op vfs.Op) error { return whereItChanges(op, syscall.ENOSPC) })},
	{"short write", once(func(op vfs.Op) error {
		if op.Kind != vfs.OpWriteAt {
			return whereItChanges(op, syscall.EIO)
		}
		return &vfs.ShortWrite{WrittenBytes: op.Bytes / 2, Cause: syscall.EIO}
	})},
	{"EIO from then on", func(vfs.Op, int64) error { return syscall.EIO }},
	{"ENOSPC from then on", func(op vfs.Op, _ int64) error {
		if op.Kind == vfs.OpRemove || op.Kind == vfs.OpRemoveAll {
			return nil
		}
		return whereItChanges(op, syscall.ENOSPC)
	}},
}

func once(fail func(vfs.Op) error) func(vfs.Op, int64) error {
	return func(op vfs.Op, nth int64) error {
		if op.Nth != nth {
			return nil
		}
		return fail(op)
	}
}

// whereItChanges limits a fault to the operations that a full disk fails.
func whereItChanges(op vfs.Op, err error) error {
	if op.Kind.Changes() {
		return err
	}
	return nil
}

// workloadConfig makes a workload of a hundred records have rolls, checkpoints, evictions and retention.
func workloadConfig(fsys vfs.FS) engine.Config {
	return engine.Config{FS: fsys, JournalFileBytes: 8 << 10, CheckpointBytes: 6 << 10, TailBytes: 4 << 10, SegmentBytes: 4 << 10,
		RetentionInterval: time.Millisecond}
}

// runWorkload runs the canonical workload: recovery of what the image left, produce, roll, checkpoint, retention,
// compaction, a topic made and one deleted, positions, producer ids, reads of history, a clean close, a start. It goes on
// after errors, as clients do. It calls judge with each outcome.
func runWorkload(fsys vfs.FS, book *ledger, life int, judge func(step string, err error)) {
	for session := range 2 {
		e, err := engine.Open(workloadConfig(fsys))
		judge("open", err)
		if err != nil {
			return
		}
		d := engineLog{e, book}
		who := func(p topicPartition, kind string) string { return fmt.Sprintf("%s-%v-%d-%d", kind, p, life, session) }
		orders, short := topicPartition{"orders", 0}, topicPartition{"short", 0}
		brief := topicPartition{fmt.Sprintf("brief-%d-%d", life, session), 0}
		judge("create a topic", d.make(brief.topic, 1, nil))
		id, err := d.producer()
		judge("take a producer id", err)
		idempotent := err == nil
		for i := range int32(30) {
			if idempotent {
				err := d.send(orders, who(orders, "i"), id, i, 100)
				judge("append to orders/0", err)
				idempotent = err == nil
			}
			judge("append to orders/1", d.send(topicPartition{"orders", 1}, who(topicPartition{"orders", 1}, "p"), -1, 0, 100))
			judge("append to short", d.send(short, who(short, "p"), -1, 0, 200))
			key := fmt.Sprintf("p-key%d", i%3)
			judge("append to latest", d.send(topicPartition{"latest", 0}, key, -1, 0, 100))
			if i%10 == 0 {
				judge("commit", d.commit("readers", orders, int64(life*1000+session*100+int(i)+1)))
				time.Sleep(time.Millisecond) // for retention, which has a clock
			}
		}
		for _, p := range []topicPartition{orders, {"orders", 1}, {"latest", 0}} {
			_, _, err := d.read(p, 0)
			judge("read", err)
		}
		if _, ok := e.Topic(brief.topic); ok {
			judge("delete a topic", d.drop(brief.topic))
		}
		judge("close", e.Close())
	}
}

// workloadImage is a directory that lost its power after a workload, with a torn tail, and the ledger of the workload.
func workloadImage(t *testing.T) (*vfs.Mem, *ledger) {
	t.Helper()
	disk, book := vfs.NewMem(), newLedger()
	e, err := engine.Open(workloadConfig(disk))
	if err != nil {
		t.Fatal(err)
	}
	d := engineLog{e, book}
	if err := errors.Join(d.make("orders", 2, nil),
		d.make("short", 1, map[string]string{"retention.bytes": "4096", "segment.bytes": "2048"}),
		d.make("latest", 1, map[string]string{"cleanup.policy": "compact", "segment.bytes": "2048", "min.cleanable.dirty.ratio": "0.1"})); err != nil {
		t.Fatal(err)
	}
	book.shrinking["short"], book.compacted["latest"] = true, true
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	runWorkload(disk, book, 0, func(step string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	})
	if e, err = engine.Open(workloadConfig(disk)); err != nil {
		t.Fatal(err)
	}
	d = engineLog{e, book}
	for range 5 {
		if err := d.send(topicPartition{"orders", 1}, "p-torn", -1, 0, 700); err != nil {
			t.Fatal(err)
		}
	}
	disk.PowerOff()
	e.Close()
	return disk.CrashClone(mathrand.New(mathrand.NewSource(1))), book
}

// Case: every single operation on a file in the canonical workload fails: once, or with all that follow. Each call ends
// with an answer or a defined error; when the disk works again the directory opens and has everything that was
// acknowledged, whether the process was only stopped or the power failed on top.
func TestFailingIO(t *testing.T) {
	image, told := workloadImage(t)
	counted := vfs.NewFaulty(copyOf(image, 1), nil)
	runWorkload(counted, told.copy(), 1, func(step string, err error) {
		if err != nil {
			t.Fatalf("without a fault, %s: %v", step, err)
		}
	})
	operations, runs := counted.Count(), 0
	for _, failure := range failures {
		for nth := int64(1 + runs%*every); nth <= operations && !t.Failed(); nth += int64(*every) {
			name := fmt.Sprintf("%s of operation %d", failure.name, nth)
			failIO(t, name, copyOf(image, nth), told.copy(), func(op vfs.Op) error {
				if op.Nth < nth {
					return nil
				}
				return failure.outcome(op, nth)
			})
			runs++
		}
	}
	t.Logf("%d runs of a workload of %d operations", runs, operations)
}

func failIO(t *testing.T, name string, disk *vfs.Mem, book *ledger, fault func(vfs.Op) error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runWorkload(vfs.NewFaulty(disk, fault), book, 1, func(step string, err error) {
			if what := undefined(step, err); what != "" {
				t.Errorf("I8: %s: %s: %s: %v", name, step, what, err)
			}
		})
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("I8: %s: it hangs:\n%s", name, stacks[:runtime.Stack(stacks, true)])
	}
	afterCut := copyOf(disk, 2)
	for how, disk := range map[string]*vfs.Mem{"started again": disk, "after a power cut": afterCut} {
		e, err := engine.Open(workloadConfig(disk))
		if err != nil {
			t.Errorf("I9: %s, %s: %v", name, how, err)
			continue
		}
		broken, err := book.copy().audit(engineLog{e, book}, true)
		if err != nil {
			t.Errorf("I1: %s, %s: %v", name, how, err)
		}
		for _, what := range broken {
			t.Errorf("%s, %s: %s", name, how, what)
		}
		if err := e.Close(); err != nil {
			t.Errorf("%s, %s: close: %v", name, how, err)
		}
	}
}

// undefined returns what is wrong with an error, or "": there must be a Kafka error code for it, and if a start has failed,
// it must name the file.
func undefined(step string, err error) string {
	switch {
	case err == nil, errors.Is(err, engine.ErrStorage), errors.Is(err, engine.ErrClosed):
		return ""
	case step == "open" || step == "close":
		if _, ok := errors.AsType[*fs.PathError](err); !ok {
			return "it names no file"
		}
		return ""
	case errors.Is(err, engine.ErrUnknownTopic) && strings.HasPrefix(step, "delete"):
		return ""
	}
	return "no error that the front end has a code for"
}

// copyOf returns another disk with what is on a disk that has lost its power, or would have now.
func copyOf(disk *vfs.Mem, seed int64) *vfs.Mem {
	return disk.CrashClone(mathrand.New(mathrand.NewSource(seed)))
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/faults"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// auditModes checks exactly what the modes other than sync may lose (docs/guarantees.md). Interval and os: a last part of
// what was written after the last sync, across all partitions, and nothing else is ever at its offset. Memory:
// everything, but no offset comes again.
func auditModes(e *Engine, x expectation) (broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	logs := map[Partition]map[int64]string{}
	starts := map[Partition]int64{}
	read := func(p Partition) map[int64]string {
		if logs[p] == nil {
			var err error
			if logs[p], starts[p], err = readLog(e, p); err != nil {
				fail("I1: %s/%d can't be read: %v", x.names[p.Topic], p.Index, err)
			}
		}
		return logs[p]
	}
	lost := ""
	for _, b := range x.lax {
		if _, ok := e.TopicByID(b.p.Topic); !ok {
			continue
		}
		got := read(b.p)
		for i, want := range b.records {
			offset := b.base + int64(i)
			have, ok := got[offset]
			switch {
			case offset < starts[b.p]:
			case !ok && lost == "":
				lost = want
			case ok && have != want:
				fail("I2: %s/%d offset %d was %q and is %q", x.names[b.p.Topic], b.p.Index, offset, want, have)
			case ok && lost != "":
				fail("%s is there, and %s, which was written before, is lost", want, lost)
			}
		}
	}
	for _, r := range x.shown {
		if have, ok := read(r.p)[r.offset]; ok && have != r.value {
			fail("I2: %s/%d offset %d was shown as %q and is %q", x.names[r.p.Topic], r.p.Index, r.offset, r.value, have)
		}
	}
	for p, next := range x.forgotten {
		if x.modes[p.Topic] != meta.Memory {
			continue
		}
		if _, ok := e.TopicByID(p.Topic); !ok {
			continue
		}
		if got := read(p); len(got) > 0 {
			fail("%s/%d is in memory only and has come back with %v", x.names[p.Topic], p.Index, got)
		}
		if a := appendNow(e, p, newBatch(-1, -1, faults.Payload("audit", 1))); a.Err != nil || a.BaseOffset < next {
			fail("I2: %s/%d gave offset %d again (%v): it had given all below %d", x.names[p.Topic], p.Index, a.BaseOffset, a.Err, next)
		}
	}
	return broken
}

func makeTopicIn(t *testing.T, e *Engine, mode meta.Durability, configs ...string) Partition {
	t.Helper()
	c := map[string]string{meta.DurabilityMode: string(mode)}
	for i := 0; i < len(configs); i += 2 {
		c[configs[i]] = configs[i+1]
	}
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: string(mode), Partitions: 1, Configs: c}, false)
	if err != nil {
		t.Fatal(err)
	}
	return Partition{Topic: topic.ID, Index: 0}
}

// Case: under os an append is answered and served without any sync. A commit of anybody else makes it durable; a kill
// takes nothing, and a stop that was not clean lets the leader epoch grow, since it may have.
func TestWrittenIsAnswered(t *testing.T) {
	disk := vfs.NewMem()
	var syncs atomic.Int64
	var abandoned []*Engine // two on one disk: the first is as good as killed when the second opens
	t.Cleanup(func() {
		disk.PowerOff()
		for _, e := range abandoned {
			_ = e.Close()
		}
	})
	open := func(fs vfs.FS) *Engine {
		e, err := Open(Config{FS: fs, JournalFileBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		abandoned = append(abandoned, e)
		return e
	}
	e := open(watch(disk, func() { syncs.Add(1) }))
	id := makeTopicIn(t, e, meta.OS)
	before := syncs.Load()
	for i := range 20 {
		if a := appendNow(e, id, newBatch(7, int32(i), faults.Payload("os", i))); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if a := appendNow(e, id, newBatch(7, 19, faults.Payload("os", 19))); a.Err != nil || a.BaseOffset != 19 {
		t.Errorf("sent again: %+v", a)
	}
	if n := syncs.Load() - before; n != 0 {
		t.Errorf("%d syncs", n)
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != 20 {
		t.Errorf("%d records are served, %v", len(got), err)
	}
	killed := open(disk)
	if got, _, err := readLog(killed, id); err != nil || len(got) != 20 || killed.LeaderEpoch(id) <= 0 {
		t.Errorf("after a kill: %d records, epoch %d, %v", len(got), killed.LeaderEpoch(id), err)
	}
	if a := appendNow(killed, id, newBatch(7, 20, faults.Payload("os", 20))); a.Err != nil {
		t.Error(a.Err)
	}
	makeTopic(t, killed, "other", 1) // synced, and everything with it
	after := openWith(t, Config{FS: crashed(disk), JournalFileBytes: 1 << 20})
	if got, _, err := readLog(after, id); err != nil || len(got) != 21 {
		t.Errorf("after a power cut: %d records, %v", len(got), err)
	}
	after.Close()
	clean := openWith(t, Config{FS: after.config.FS, JournalFileBytes: 1 << 20})
	if clean.LeaderEpoch(id) <= after.LeaderEpoch(id) {
		t.Errorf("epoch %d after a restart of %d", clean.LeaderEpoch(id), after.LeaderEpoch(id))
	}
}

// Case: the mode of a topic changes while it is used, in the order of its records.
func TestModeChanges(t *testing.T) {
	e := openMem(t, nil)
	id := makeTopicIn(t, e, meta.Sync)
	n := 0
	for _, mode := range []meta.Durability{meta.OS, meta.Sync, meta.Interval, meta.OS, meta.Sync} {
		if err := e.EditConfig(noWait, "sync", []meta.ConfigEdit{{Name: meta.DurabilityMode, Value: string(mode)}}, false); err != nil {
			t.Fatal(err)
		}
		answers := make(chan Appended, 50)
		for range 50 {
			e.Append(id, newBatch(-1, -1, faults.Payload("a", n)), func(a Appended) { answers <- a })
			n++
		}
		for i := range 50 {
			if a := <-answers; a.Err != nil || a.BaseOffset != int64(n-50+i) {
				t.Fatalf("%s: answer %d is %+v", mode, i, a)
			}
		}
	}
	if err := e.EditConfig(noWait, "sync", []meta.ConfigEdit{{Name: meta.DurabilityMode, Value: "memory"}}, false); !errors.Is(err, meta.ErrInvalidConfig) {
		t.Errorf("to memory: %v", err)
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != n {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// Case: in memory mode records reach whoever waits, touch no file, and the oldest are forgotten when the ring is full.
func TestMemoryMode(t *testing.T) {
	disk := vfs.NewMem()
	var writes atomic.Int64
	e := openWith(t, Config{JournalFileBytes: 1 << 20, FS: vfs.NewFaulty(disk, func(op vfs.Op) error {
		if op.Kind.Changes() && !strings.HasPrefix(op.Name, "LOCK") {
			writes.Add(1)
		}
		return nil
	})})
	id := makeTopicIn(t, e, meta.Memory, "retention.bytes", "1000", meta.TimestampType, "LogAppendTime")
	got := make(chan []Fetched, 1)
	go func() { got <- e.Fetch(context.Background(), longPoll(id, 0, time.Minute), nil) }()
	if a := appendNow(e, id, newBatch(7, 0, "first")); a.Err != nil || a.BaseOffset != 0 || a.LogAppendTime < 0 {
		t.Fatalf("%+v", a)
	}
	if f := (<-got)[0]; f.Err != nil || f.HighWatermark != 1 || len(f.Records) != 1 {
		t.Errorf("who waited got %+v", f)
	}
	before := writes.Load()
	for i := range 50 {
		if a := appendNow(e, id, newBatch(7, int32(i+1), strings.Repeat("x", 100))); a.Err != nil || a.BaseOffset != int64(i+1) {
			t.Fatalf("%+v", a)
		}
	}
	if n := writes.Load() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
	if a := appendNow(e, id, newBatch(7, 50, strings.Repeat("x", 100))); a.Err != nil || a.BaseOffset != 50 {
		t.Errorf("sent again: %+v", a)
	}
	start, _ := e.OffsetFor(id, Earliest)
	end, _ := e.OffsetFor(id, Latest)
	if end.Offset != 51 || start.Offset < 40 || start.Offset > 47 {
		t.Errorf("the ring holds [%d, %d)", start.Offset, end.Offset)
	}
	if f := fetchNow(e, id, start.Offset-1); !errors.Is(f.Err, ErrOffsetOutOfRange) {
		t.Errorf("what is forgotten: %v", f.Err)
	}
	if records, _, err := readLog(e, id); err != nil || int64(len(records)) != end.Offset-start.Offset {
		t.Errorf("%d records, %v", len(records), err)
	}
	if found, err := e.OffsetFor(id, 1); err != nil || found.Offset != start.Offset {
		t.Errorf("by time: %+v, %v", found, err)
	}
	if found, err := e.OffsetFor(id, MaxTimestamp); err != nil || found.Timestamp < 0 {
		t.Errorf("the newest: %+v, %v", found, err)
	}
	if epoch, last, err := e.EpochEnd(id, 0); epoch != 0 || last != 51 || err != nil {
		t.Errorf("epoch 0 ends at %d, %d, %v", epoch, last, err)
	}

	// Case: after a clean restart offsets go on, and a reader who had everything is not out of range; after a power
	// cut they go on behind all that was ever reserved. A producer goes on either way.
	e.Close()
	e = openWith(t, Config{FS: disk, JournalFileBytes: 1 << 20})
	if f := fetchNow(e, id, 51); f.Err != nil || f.HighWatermark != 51 || f.LogStart != 51 {
		t.Errorf("after a clean restart: %+v", f)
	}
	if a := appendNow(e, id, newBatch(7, 51, "next")); a.Err != nil || a.BaseOffset != 51 {
		t.Errorf("after a clean restart: %+v", a)
	}
	after := openWith(t, Config{FS: crashed(disk), JournalFileBytes: 1 << 20})
	if a := appendNow(after, id, newBatch(7, 52, "next")); a.Err != nil || a.BaseOffset != 51+reservedOffsets {
		t.Errorf("after a power cut: %+v", a)
	}
}

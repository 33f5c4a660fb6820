package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Case: producers, groups, topic changes, retention and checkpoints are at work, and snapshots are taken one after the
// other. Each, opened as a data directory of its own, holds all that the world had been told before it was begun, nothing
// that nobody sent, and one moment: a record that was sent after the answer to another is never there without it. Every
// byte is the original's.
func TestSnapshotsUnderLoad(t *testing.T) {
	disks := map[string]func(*testing.T) vfs.FS{
		"links": func(t *testing.T) vfs.FS {
			disk, err := vfs.Disk(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { disk.(io.Closer).Close() })
			return disk
		},
		"copies": func(t *testing.T) vfs.FS { return slowSync(vfs.NewMem(), 1) },
	}
	for name, makeDisk := range disks {
		t.Run(name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			rng := rand.New(rand.NewPCG(seed, 1))
			book := &ledger{}
			e := openWith(t, cutConfig(makeDisk(t)))
			w := &workload{engine: e, ledger: book, seed: seed}
			if err := w.start(); err != nil {
				t.Fatal(err)
			}
			chain := makeTopic(t, e, "chain", 2)
			w.wg.Go(func() { linkByLink(w, chain) })

			type image struct {
				disk *vfs.Mem
				told []any
				snap Snapshot
			}
			var images []image
			for range 8 {
				time.Sleep(time.Duration(rng.IntN(8000)) * time.Microsecond)
				told := book.moment()
				snap, err := e.Snapshot(t.Context(), datadir.SnapshotDir)
				if err != nil {
					t.Fatal(err)
				}
				if snap.Copied != (name == "copies") {
					t.Errorf("copied: %v", snap.Copied)
				}
				images = append(images, image{takeOut(t, e.config.FS, datadir.SnapshotDir), told, snap})
			}
			time.Sleep(5 * time.Millisecond)
			w.end()
			if err := e.Err(); err != nil {
				t.Fatalf("fenced: %v", err)
			}
			may := expect(book.moment())
			original := rawLogs(t, e)
			for i, image := range images {
				copied := openWith(t, cutConfig(image.disk))
				if copied.ClusterID() != e.ClusterID() || image.snap.ClusterID != e.ClusterID() {
					t.Errorf("snapshot %d: cluster id %s", i, copied.ClusterID())
				}
				for _, what := range compareLogs(rawLogs(t, copied), original) {
					t.Errorf("snapshot %d: %s", i, what)
				}
				if err := checkChain(copied, chain); err != nil {
					t.Errorf("snapshot %d: %v", i, err)
				}
				if copied.topics.epoch <= e.topics.epoch {
					t.Errorf("snapshot %d: leader epoch %d, the original has %d", i, copied.topics.epoch, e.topics.epoch)
				}
				for _, what := range audit(copied, expect(image.told), may) {
					t.Errorf("snapshot %d: %s", i, what)
				}
			}
		})
	}
}

// linkByLink sends each record only when it has the answer to the one before, to one partition after the other, and
// commits a position after both.
func linkByLink(w *workload, topic meta.Topic) {
	for i := 0; !w.ended(); i++ {
		for p := range int32(2) {
			if a := appendNow(w.engine, Partition{Topic: topic.ID, Index: p}, newBatch(-1, -1, faults.Payload(fmt.Sprintf("chain%d", p), i))); a.Err != nil {
				return
			}
		}
		w.engine.Commit(noWait, group.CommitRequest{Group: "chain", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
			{Topic: topic.Name, Partition: 1}: {Offset: int64(i) + 1, LeaderEpoch: -1}}})
	}
}

func checkChain(e *Engine, topic meta.Topic) error {
	first, second := e.topics.parts.get(Partition{Topic: topic.ID, Index: 0}), e.topics.parts.get(Partition{Topic: topic.ID, Index: 1})
	if first == nil || second == nil {
		return errors.New("the chain's topic is not there")
	}
	positions, err := e.FetchOffsets("chain", nil)
	committed := positions[group.TopicPartition{Topic: topic.Name, Partition: 1}].Offset
	if a, b := first.log.End(), second.log.End(); err != nil || b > a || a > b+1 || committed > b || committed < b-1 {
		return fmt.Errorf("no one moment: %d records, then %d, then position %d (%v)", a, b, committed, err)
	}
	return nil
}

// takeOut copies what a snapshot says belongs to it to a disk of its own.
func takeOut(t *testing.T, from vfs.FS, dir string) *vfs.Mem {
	t.Helper()
	to := vfs.NewMem()
	list, err := vfs.ReadFile(from, path.Join(dir, datadir.SnapshotContent))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		var f datadir.SnapshotFile
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		if f.Dir {
			if err := to.MkdirAll(f.Path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content, err := vfs.ReadFile(from, path.Join(dir, f.Path))
		if err == nil && int64(len(content)) < f.SizeBytes {
			err = fmt.Errorf("%s has %d bytes of %d", f.Path, len(content), f.SizeBytes)
		}
		if err == nil {
			err = errors.Join(to.MkdirAll(path.Dir(f.Path)), putFile(to, f.Path, content[:f.SizeBytes]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// rawLogs reads the bytes of all batches, by partition and base offset.
func rawLogs(t *testing.T, e *Engine) map[Partition]map[int64]string {
	t.Helper()
	all := map[Partition]map[int64]string{}
	for p := range e.topics.parts.all() {
		if p.ring != nil {
			continue // what is in memory only is in no snapshot
		}
		id := p.id
		all[id] = map[int64]string{}
		for next := p.log.Start(); ; {
			f := fetchNow(e, id, next)
			if errors.Is(f.Err, ErrOffsetOutOfRange) { // retention was faster
				next = p.log.Start()
				continue
			}
			if f.Err != nil {
				t.Fatalf("%s/%d: %v", id.Topic, id.Index, f.Err)
			}
			if len(f.Records) == 0 {
				break
			}
			for _, run := range f.Records {
				for v := range batch.Split(run) {
					all[id][v.BaseOffset()] = string(v)
					next = v.NextOffset()
				}
			}
		}
	}
	return all
}

// compareLogs returns where a copy differs from the original, as far as that still has what the copy has.
func compareLogs(copied, original map[Partition]map[int64]string) (wrong []string) {
	for id, batches := range copied {
		for base, b := range batches {
			if want, ok := original[id][base]; ok && want != b {
				wrong = append(wrong, fmt.Sprintf("%s/%d: the batch at %d differs", id.Topic, id.Index, base))
			}
		}
	}
	return wrong
}

// Case: the caller gives up waiting, or the engine closes or is fenced: Snapshot returns the reason.
func TestSnapshotIsRefused(t *testing.T) {
	disk := vfs.NewMem()
	var broken atomic.Bool
	e := openWith(t, Config{FS: vfs.NewFaulty(disk, func(op vfs.Op) error {
		if broken.Load() && op.Kind == vfs.OpSync {
			return errors.New("the disk is gone")
		}
		return nil
	})})
	given, cancel := context.WithCancel(t.Context())
	cancel()
	makeTopic(t, e, "orders", 1)
	if _, err := e.Snapshot(given, datadir.SnapshotDir); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if names := listNames(t, disk); strings.Contains(names, datadir.SnapshotDir) {
		t.Errorf("left: %s", names)
	}
	broken.Store(true)
	if _, err := e.Snapshot(t.Context(), datadir.SnapshotDir); err == nil {
		t.Error("a snapshot of a log that can't be synced")
	}
	if _, err := e.Snapshot(t.Context(), datadir.SnapshotDir); !errors.Is(err, ErrStorage) {
		t.Errorf("fenced: %v", err)
	}
	e.Close()
	if _, err := e.Snapshot(t.Context(), datadir.SnapshotDir); err == nil {
		t.Error("a snapshot of a closed log")
	}
}

// Case: a process ended with a snapshot in the directory. The next one removes it and nothing else.
func TestLeftSnapshotIsRemoved(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open(Config{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	topic := makeTopic(t, e, "orders", 1)
	appendNow(e, Partition{Topic: topic.ID, Index: 0}, newBatch(-1, -1, "a"))
	if _, err := e.Snapshot(t.Context(), datadir.SnapshotDir); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openWith(t, Config{FS: disk})
	if names := listNames(t, disk); strings.Contains(names, datadir.SnapshotDir) {
		t.Errorf("left: %s", names)
	}
	if got, _, err := readLog(e, Partition{Topic: topic.ID, Index: 0}); err != nil || got[0] != "a" {
		t.Errorf("%v %v", got, err)
	}
}

func listNames(t *testing.T, disk vfs.FS) string {
	t.Helper()
	infos, err := disk.List(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

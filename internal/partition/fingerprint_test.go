package partition

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// twins are two logs on one disk whose segments begin at the same offsets and have the same lengths, times and producers:
// nothing but a byte of each batch tells them apart, and not even that in batches that are alike.
func twins(t *testing.T, count int, alike func(i int) bool) (disk *vfs.Mem, a, b twin) {
	t.Helper()
	disk = vfs.NewMem()
	made := func(dir string, differs byte) twin {
		l, err := Create(disk, dir, small())
		check(t, err)
		w := twin{dir: dir, all: &journal{}}
		for i := range count {
			value := bytes.Repeat([]byte{byte(i)}, 80)
			if !alike(i) {
				value[7] ^= differs
			}
			one(l, fmt.Sprint("key ", i), value)
		}
		check(t, l.Sync())
		w.state = l.State()
		w.all.batches = batchesFrom(t, l, 0)
		check(t, l.Close())
		return w
	}
	return disk, made("a", 0), made("b", 1)
}

type twin struct {
	dir   string
	state State
	all   *journal
}

func batchesFrom(t *testing.T, l *Log, offset int64) (all []batch.View) {
	t.Helper()
	pieces, err := l.Read(nil, offset, 1<<20)
	check(t, err)
	for _, piece := range pieces {
		for v, err := range batch.Split(piece) {
			check(t, err)
			all = append(all, bytes.Clone(v))
		}
	}
	return all
}

func swapFiles(t *testing.T, disk *vfs.Mem, a, b string) {
	t.Helper()
	check(t, errors.Join(disk.Rename(a, "aside"), disk.Rename(b, a), disk.Rename("aside", b)))
}

// expectStranger opens a log in which the file of one segment is another log's, and sees that nothing of it is served,
// that what is appended doesn't go there, and that Verify names it.
func expectStranger(t *testing.T, disk *vfs.Mem, w twin, i int) {
	t.Helper()
	seg := w.state.Segments[i]
	file, end := w.dir+"/"+fileName(seg.SegmentName, segmentFile), w.state.End
	if i+1 < len(w.state.Segments) {
		end = w.state.Segments[i+1].Base
	}
	v, err := Verify(disk, w.dir, w.state)
	check(t, err)
	if len(v.Damage) != 1 || v.Damage[0].File != file || v.Damage[0].First != seg.Base || v.Damage[0].Last != end-1 {
		t.Errorf("Verify found %+v, want %s", v.Damage, file)
	}

	l, err := Open(disk, w.dir, small(), w.state)
	check(t, err)
	for offset := seg.Base; offset < end; offset++ {
		_, err := l.Read(nil, offset, 1)
		if c, ok := errors.AsType[*CorruptError](err); !ok || c.File != file || c.Reason != reasonForeign {
			t.Fatalf("offset %d of a stranger's file: %v", offset, err)
		}
	}
	if _, _, _, err := l.OffsetForTime(seg.MaxTimestamp); err == nil {
		t.Error("a time is found in a stranger's file")
	}
	before, err := disk.Stat(file)
	check(t, err)
	w.all.append(l, 3)
	check(t, l.Sync())
	l.EvictTail(0)
	if after, err := disk.Stat(file); err != nil || after.SizeBytes != before.SizeBytes {
		t.Errorf("a stranger's file of %d bytes has %d now: %v", before.SizeBytes, after.SizeBytes, err)
	}
	if damage := l.Damage(); i == len(w.state.Segments)-1 && (len(damage) != 1 || damage[0].File != file) {
		t.Errorf("it was to be written to, and is not known as damaged: %v", damage)
	}
	rest := slices.DeleteFunc(slices.Clone(w.all.batches), func(v batch.View) bool { return v.BaseOffset() < end })
	if got := batchesFrom(t, l, end); !slices.EqualFunc(got, rest, func(a, b batch.View) bool { return bytes.Equal(a, b) }) {
		t.Errorf("behind it %d batches are served, want %d", len(got), len(rest))
	}
	check(t, l.Close())
}

// Case: the segment files of two logs change places. They begin at the same offset, are of one length and have the same
// times, and still neither log serves a byte of the other, nor writes to its file.
func TestTwins(t *testing.T) {
	const perSegment, count = 12, 40
	for name, alike := range map[string]func(i int) bool{
		"all batches differ":             func(int) bool { return false },
		"only the first batches differ":  func(i int) bool { return i%perSegment != 0 },
		"only the latest batches differ": func(i int) bool { return i%perSegment != perSegment-1 && i != count-1 },
	} {
		t.Run(name, func(t *testing.T) {
			_, a, _ := twins(t, count, alike)
			for i, seg := range a.state.Segments {
				disk, a, b := twins(t, count, alike)
				name := fileName(seg.SegmentName, segmentFile)
				swapFiles(t, disk, "a/"+name, "b/"+name)
				expectStranger(t, disk, a, i)
				expectStranger(t, disk, b, i)
			}
		})
	}
}

// Case: two segments differ in the middle only: reads, which look at the first batch and the last, don't tell them apart.
// Whatever reads all of it does.
func TestTwinsThatDifferInTheMiddle(t *testing.T) {
	disk, a, b := twins(t, 40, func(i int) bool { return i != 5 })
	name := fileName(a.state.Segments[0].SegmentName, segmentFile)
	swapFiles(t, disk, "a/"+name, "b/"+name)
	for _, w := range []twin{a, b} {
		if v, err := Verify(disk, w.dir, w.state); err != nil || len(v.Damage) != 1 || v.Damage[0].File != w.dir+"/"+name {
			t.Errorf("Verify of %s found %+v, %v", w.dir, v.Damage, err)
		}
	}
}

// Case: what compaction wrote has a fingerprint too.
func TestTwinsOfCompaction(t *testing.T) {
	disk, a, b := twins(t, 40, func(int) bool { return false })
	for _, w := range []*twin{&a, &b} {
		l, err := Open(disk, w.dir, small(), w.state)
		check(t, err)
		for i := range 30 {
			one(l, fmt.Sprint("key ", i), bytes.Repeat([]byte(w.dir), 80))
		}
		check(t, l.Sync())
		_, err = l.Compact(Compaction{Stable: math.MaxInt64})
		check(t, err)
		check(t, l.Sync())
		w.state, w.all.batches = l.State(), batchesFrom(t, l, 0)
		check(t, l.Close())
	}
	if a.state.Segments[0].Generation != 1 {
		t.Fatalf("nothing was compacted: %+v", a.state.Segments)
	}
	name := fileName(a.state.Segments[0].SegmentName, segmentFile)
	swapFiles(t, disk, "a/"+name, "b/"+name)
	expectStranger(t, disk, a, 0)
	expectStranger(t, disk, b, 0)
}

// Case: the state is of the last checkpoint and the file has grown since; it changed places with another's. It is not
// cut: its own log would miss what goes.
func TestStrangerIsNotCut(t *testing.T) {
	disk, a, b := twins(t, 40, func(int) bool { return false })
	last := len(a.state.Segments) - 1
	name := fileName(a.state.Segments[last].SegmentName, segmentFile)
	l, err := Open(disk, "b", small(), b.state)
	check(t, err)
	b.all.append(l, 2)
	check(t, l.Sync())
	check(t, l.Close())
	grown, err := disk.Stat("b/" + name)
	check(t, err)
	if grown.SizeBytes <= b.state.Segments[last].SizeBytes {
		t.Fatal("it did not grow")
	}
	swapFiles(t, disk, "a/"+name, "b/"+name)
	expectStranger(t, disk, a, last)
	if now, err := disk.Stat("a/" + name); err != nil || now.SizeBytes != grown.SizeBytes {
		t.Errorf("it had %d bytes and has %d: %v", grown.SizeBytes, now.SizeBytes, err)
	}
}

// Case: damage in the first batch, or the last, doesn't make a file another's: the batches beside it are served.
func TestDamageIsNoStranger(t *testing.T) {
	disk, all, s := synced(t)
	seg := s.Segments[0]
	file := "p/" + fileName(seg.SegmentName, segmentFile)
	for _, at := range []int64{0, 10, 18, 70, seg.SizeBytes - seg.Fingerprint.LastBytes + 18, seg.SizeBytes - 1} {
		flip(t, disk, file, at)
		l, err := Open(disk, "p", small(), s)
		check(t, err)
		damaged, err := readAll(l, all)
		check(t, err)
		if len(damaged) != 1 || damaged[0].File != file || damaged[0].Reason == reasonForeign {
			t.Errorf("byte %d flipped: %v", at, damaged)
		}
		check(t, l.Close())
		flip(t, disk, file, at)
	}
}

// Case: states of version 1 and 2 know no fingerprints. Their logs are read, and grow.
func TestStatesWithoutMarks(t *testing.T) {
	disk, all, s := synced(t)
	for i := range s.Segments {
		s.Segments[i].Fingerprint = Fingerprint{}
	}
	l, err := Open(disk, "p", small(), s)
	check(t, err)
	all.expectRead(t, l, 0)
	all.append(l, 20)
	check(t, l.Sync())
	l.EvictTail(0)
	all.expectRead(t, l, 0)
	after := l.State().Segments
	if grown := after[len(s.Segments)-1]; grown.Fingerprint != (Fingerprint{}) || after[len(after)-1].Fingerprint == (Fingerprint{}) {
		t.Errorf("a fingerprint of half a segment, or none of a whole one: %+v", after)
	}
	check(t, l.Close())
}

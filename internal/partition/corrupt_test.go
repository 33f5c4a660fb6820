package partition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// synced is a log of a few segments with indexes, on disk, closed.
func synced(t testing.TB) (*vfs.Mem, *journal, State) {
	t.Helper()
	disk := vfs.NewMem()
	l, err := Create(disk, "p", small())
	check(t, err)
	all := new(journal)
	all.append(l, 20)
	l.BumpEpoch(2)
	all.append(l, 20)
	check(t, l.Sync())
	s := l.State()
	check(t, l.Close())
	return disk, all, s
}

// readAll reads everything, passes by what can't be read, and says what was found.
func readAll(l *Log, all *journal) (damaged []*CorruptError, err error) {
	for offset := l.Start(); offset < l.End(); {
		pieces, err := l.Read(nil, offset, 500)
		if c, ok := errors.AsType[*CorruptError](err); ok {
			damaged = append(damaged, c)
			offset = all.holding(offset).NextOffset()
			continue
		}
		if err != nil {
			return damaged, err
		}
		for _, piece := range pieces {
			for v, err := range batch.Split(piece) {
				if err != nil || !bytes.Equal(v, all.holding(offset)) {
					return damaged, fmt.Errorf("offset %d served wrong bytes: %v", offset, err)
				}
				offset = v.NextOffset()
			}
		}
	}
	return damaged, nil
}

// Every byte of every file is flipped: a segment's is found and named, an index's does no harm, and no wrong byte is
// ever served.
func TestEveryFlippedByte(t *testing.T) {
	disk, all, s := synced(t)
	wantTimes := make(map[int64]int64)
	well, err := Open(disk, "p", small(), s)
	check(t, err)
	for ms := int64(0); ms < 400; ms += 50 {
		wantTimes[ms], _, _, err = well.OffsetForTime(ms)
		check(t, err)
	}
	check(t, well.Close())
	for _, name := range list(t, disk, "p") {
		info, err := disk.Stat("p/" + name)
		check(t, err)
		for at := range info.SizeBytes {
			flip(t, disk, "p/"+name, at)
			l, err := Open(disk, "p", small(), s)
			check(t, err)
			// By time first: reading would mend the index.
			var timeErr error
			for ms, want := range wantTimes {
				offset, _, _, err := l.OffsetForTime(ms)
				if _, corrupt := errors.AsType[*CorruptError](err); corrupt {
					timeErr = err
				} else if err != nil || offset != want {
					t.Fatalf("byte %d of %s flipped: time %d is at %d, want %d: %v", at, name, ms, offset, want, err)
				}
			}
			damaged, err := readAll(l, all)
			if err != nil {
				t.Fatalf("byte %d of %s flipped: %v", at, name, err)
			}
			if strings.HasSuffix(name, ".log") {
				if len(damaged) == 0 || damaged[0].File != "p/"+name || damaged[0].Position > at {
					t.Fatalf("byte %d of %s flipped: found %v", at, name, damaged)
				}
			} else if len(damaged) != 0 || timeErr != nil {
				t.Fatalf("byte %d of %s flipped: found %v, %v", at, name, damaged, timeErr)
			}
			check(t, l.Close())
			flip(t, disk, "p/"+name, at)
		}
	}
	// A spoilt index was made anew, so that all is well again.
	l, err := Open(disk, "p", small(), s)
	check(t, err)
	if damaged, err := readAll(l, all); err != nil || len(damaged) > 0 {
		t.Errorf("all bytes restored: %v, %v", damaged, err)
	}
}

// flip inverts all bits of one byte of a file.
func flip(t *testing.T, disk vfs.FS, name string, at int64) {
	t.Helper()
	flipBits(t, disk, name, at, 0xff)
}

// What a checkpoint promised and the directory doesn't have is named when it is opened and when it is read; the rest
// is served, and new batches don't go to the damaged file.
func TestDamage(t *testing.T) {
	for name, harm := range map[string]func(*vfs.Mem, string) error{
		"missing": func(disk *vfs.Mem, name string) error { return disk.Remove(name) },
		"short": func(disk *vfs.Mem, name string) error {
			return truncateFile(disk, name, 70)
		},
		"empty": func(disk *vfs.Mem, name string) error { return truncateFile(disk, name, 0) },
		"zeros": func(disk *vfs.Mem, name string) error {
			f, err := disk.Open(name)
			if err == nil {
				_, err = f.WriteAt(make([]byte, 900), 0)
			}
			return err
		},
		"swapped": func(disk *vfs.Mem, name string) error {
			return disk.Rename("p/"+fileName(SegmentName{}, segmentFile), name)
		},
	} {
		disk, all, s := synced(t)
		last := s.Segments[len(s.Segments)-1]
		file := "p/" + fileName(last.SegmentName, segmentFile)
		check(t, harm(disk, file))
		l, err := Open(disk, "p", small(), s)
		check(t, err)
		if damage := l.Damage(); name != "zeros" && name != "swapped" && (len(damage) != 1 || damage[0].File != file) {
			t.Errorf("%s: Open found %v", name, damage)
		}
		damaged, err := readAll(l, all)
		if err != nil || len(damaged) == 0 || damaged[len(damaged)-1].File != file {
			t.Errorf("%s: reads found %v, %v", name, damaged, err)
		}
		if name != "zeros" && name != "swapped" { // those look right from outside
			all.append(l, 3)
			check(t, l.Sync())
			l.EvictTail(0)
			if got := l.State().Segments; got[len(got)-1].Base != s.End {
				t.Errorf("%s: new batches went to the damaged segment", name)
			}
			all.expectRead(t, l, s.End)
			check(t, l.DeleteBefore(s.End))
			if damage := l.Damage(); len(damage) != 0 {
				t.Errorf("%s: deleted, and still damaged: %v", name, damage)
			}
		}
		check(t, l.Close())
	}
}

// Files that no checkpoint knows are removed, bytes past it are cut, and strangers are left alone.
func TestOpenBelievesOnlyTheState(t *testing.T) {
	disk, all, s := synced(t)
	write := func(name string, at int64) {
		t.Helper()
		f, err := disk.Open("p/" + name)
		if err != nil {
			f, err = disk.Create("p/" + name)
		}
		check(t, err)
		_, err = f.WriteAt([]byte("not ours"), at)
		check(t, err)
		check(t, f.Close())
	}
	last := s.Segments[len(s.Segments)-1]
	before := list(t, disk, "p")
	write(fileName(last.SegmentName, segmentFile), last.SizeBytes)
	write(fileName(last.SegmentName, indexFile), max(last.IndexBytes, 0))
	write(fileName(SegmentName{Base: s.End}, segmentFile), 0)
	write(fileName(SegmentName{Base: s.End + 9}, indexFile), 0)
	write("notes.txt", 0)
	write("1.log", 0)
	l, err := Open(disk, "p", small(), s)
	check(t, err)
	if damaged, err := readAll(l, all); err != nil || len(damaged) > 0 {
		t.Errorf("%v, %v", damaged, err)
	}
	if last.IndexBytes == 0 {
		before = append(before, fileName(last.SegmentName, indexFile))
	}
	after := list(t, disk, "p")
	if len(after) != len(before)+2 { // the two strangers
		t.Errorf("files before: %v\nafter: %v", before, after)
	}
	all.append(l, 20)
	check(t, l.Sync())
	l.EvictTail(0)
	all.expectRead(t, l, 0)
}

// Case: files that no checkpoint knows stand there until replay is over. The one that is made again is emptied first, the
// others are removed.
func TestSweepAfterReplay(t *testing.T) {
	disk, all, s := synced(t)
	before := list(t, disk, "p")
	for _, base := range []int64{s.End, s.End + 5, s.End + 1000} {
		f, err := disk.Create("p/" + fileName(SegmentName{Base: base}, segmentFile))
		check(t, err)
		_, err = f.WriteAt(make([]byte, 100_000), 0)
		check(t, errors.Join(err, f.Close()))
	}
	l, err := OpenToReplay(disk, "p", small(), s)
	check(t, err)
	if n := len(list(t, disk, "p")); n != len(before)+3 {
		t.Errorf("%d files, and %d of the log: some were not left", n, len(before))
	}
	l.segments[len(l.segments)-1].full = true // so that the next one begins at the end
	all.append(l, 1)
	check(t, l.Sweep())
	if after := list(t, disk, "p"); len(after) != len(before)+1 {
		t.Errorf("files before: %v\nafter: %v", before, after)
	}
	check(t, l.Sync())
	l.EvictTail(0)
	all.expectRead(t, l, 0)
	made, err := disk.Stat("p/" + fileName(SegmentName{Base: s.End}, segmentFile))
	if check(t, err); made.SizeBytes != l.State().Segments[len(l.State().Segments)-1].SizeBytes {
		t.Errorf("the file that was made again has %d bytes", made.SizeBytes)
	}
	check(t, l.Close())
}

func TestDecodeStateRefusesNonsense(t *testing.T) {
	_, _, s := synced(t)
	good := s.AppendTo(nil)
	s.Open, s.Aborted = []OpenTransaction{{7, 1, 3}}, []AbortedTransaction{{9, 2, 10, 3}}
	transactional := s.AppendTo(nil)
	if good[0] != 3 || transactional[0] != 4 {
		t.Errorf("versions %d and %d: only a state with transactions must be unreadable for older programs", good[0], transactional[0])
	}
	for _, whole := range [][]byte{good, transactional} {
		for n := range whole {
			if _, _, err := DecodeState(whole[:n]); !errors.Is(err, ErrInvalidState) {
				t.Errorf("the first %d of %d bytes: %v", n, len(whole), err)
			}
		}
	}
	for _, bad := range []State{
		{End: 9, Open: []OpenTransaction{{7, 0, 9}}}, {End: 9, Open: []OpenTransaction{{7, 0, 5}, {8, 0, 4}}},
		{End: 9, Aborted: []AbortedTransaction{{7, 3, 3, 3}}}, {End: 9, Aborted: []AbortedTransaction{{7, 3, 9, 3}}},
		{End: 9, Aborted: []AbortedTransaction{{7, 3, 8, 8}, {7, 3, 7, 8}}},
	} {
		if _, _, err := DecodeState(bad.AppendTo(nil)); !errors.Is(err, ErrInvalidState) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	newer := bytes.Clone(good)
	newer[0] = stateVersion + 1
	if _, _, err := DecodeState(newer); !errors.Is(err, ErrInvalidState) || !strings.Contains(err.Error(), "version") {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzDecodeState(f *testing.F) {
	s := State{Start: 5, End: 100, Segments: []SegmentState{{SizeBytes: 70}, {SegmentName: SegmentName{Base: 50, Generation: 3}, SizeBytes: 99,
		IndexBytes: 36, FirstTimestamp: 5, MaxTimestamp: 7, MaxBase: 52, DeleteHorizon: 77, Fingerprint: Fingerprint{61, 1, 2, 3}}}, Epochs: []EpochStart{{0, 0}, {3, 50}},
		Compacted: 60, Replaced: []SegmentName{{Base: 50, Generation: 2}}}
	f.Add(s.AppendTo(nil))
	s.Open, s.Aborted = []OpenTransaction{{7, 1, 3}, {8, 0, 99}}, []AbortedTransaction{{9, 2, 10, 3}, {8, 80, 98, 3}}
	f.Add(s.AppendTo(nil))
	f.Add([]byte("\x01\x05\x5f\x01\x09\x46\x00\x0a\x04\x02\x01\x00\x00"))             // version 1
	f.Add([]byte("\x02\x05\x5f\x3c\x01\x09\x46\x00\x0a\x04\x02\x01\x9a\x01\x00\x00")) // version 2
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := DecodeState(b)
		if err != nil {
			if !errors.Is(err, ErrInvalidState) {
				t.Fatal(err)
			}
			return
		}
		again, more, err := DecodeState(append(s.AppendTo(nil), rest...))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) || !bytes.Equal(more, rest) {
			t.Fatalf("%+v becomes %+v: %v", s, again, err)
		}
	})
}

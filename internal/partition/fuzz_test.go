package partition

import (
	"bytes"
	"errors"
	"testing"

	"tidings.dev/internal/faults"
)

// Whatever stands in an index file, every offset and every time is found where it is: an index is never believed. Time
// and memory stay within what reading the segment takes.
func FuzzIndex(f *testing.F) {
	disk, all, s := synced(f)
	seg := s.Segments[0]
	name := "p/" + fileName(SegmentName{Base: seg.Base}, indexFile)
	content := make([]byte, seg.IndexBytes)
	file, err := disk.OpenRead(name)
	check(f, err)
	_, err = file.ReadAt(content, 0)
	check(f, err)
	check(f, file.Close())
	f.Add(content)
	f.Add(content[:len(content)/2])
	f.Add(make([]byte, len(content)))
	f.Add(append(appendIndexHeader(nil, seg.Base), bytes.Repeat([]byte{0xff}, indexEntryBytes)...))
	// An entry whose checksum holds, and which leads past the end.
	f.Add(indexEntry{offset: 1 << 30, position: 1 << 30}.append(appendIndexHeader(nil, seg.Base), indexSeed(seg.Base)))
	f.Fuzz(func(t *testing.T, b []byte) {
		spoil, err := disk.Create(name)
		check(t, err)
		_, err = spoil.WriteAt(b, 0)
		check(t, errors.Join(err, spoil.Close()))
		claimed := s
		claimed.Segments = append([]SegmentState(nil), s.Segments...)
		claimed.Segments[0].IndexBytes = int64(len(b)) // as if the checkpoint had seen all of it
		faults.Bound(t, len(b), 8<<20, 16, func() {
			l, err := Open(disk, "p", small(), claimed)
			check(t, err)
			for ms := int64(0); ms < 400; ms += 100 {
				if _, _, _, err := l.OffsetForTime(ms); err != nil {
					t.Errorf("time %d: %v", ms, err)
				}
			}
			if damaged, err := readAll(l, all); err != nil || len(damaged) > 0 {
				t.Errorf("%v, %v", damaged, err)
			}
			check(t, l.Close())
		})
	})
}

// A partition's state out of a checkpoint takes time and memory in proportion to its bytes.
func FuzzDecodeStateBound(f *testing.F) {
	_, _, s := synced(f)
	f.Add(s.AppendTo(nil))
	f.Add([]byte{stateVersion, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		faults.Bound(t, len(b), 256<<10, 512, func() { DecodeState(b) })
	})
}

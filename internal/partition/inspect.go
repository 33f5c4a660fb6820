package partition

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// What follows looks at logs from outside, for tools and backups, and changes nothing.

// StateFile is a file that a State refers to.
type StateFile struct {
	Name      string // in the log's directory
	SizeBytes int64  // how much of it counts
	Index     bool   // it can be made anew from the segment
	Base, End int64  // the offsets of the segment, [Base, End)
}

// FilesOf lists the files that a state refers to: each segment, followed by its index if it has one.
func FilesOf(s State) []StateFile {
	var all []StateFile
	for i, seg := range s.Segments {
		end := s.End
		if i+1 < len(s.Segments) {
			end = s.Segments[i+1].Base
		}
		all = append(all, StateFile{Name: fileName(seg.SegmentName, segmentFile), SizeBytes: seg.SizeBytes, Base: seg.Base, End: end})
		if seg.IndexBytes > 0 {
			all = append(all, StateFile{Name: fileName(seg.SegmentName, indexFile), SizeBytes: seg.IndexBytes, Index: true, Base: seg.Base, End: end})
		}
	}
	return all
}

// Damage is a piece of a segment that can't be used: bytes [From, To) of its file, in which offsets [First, Last] stood.
type Damage struct {
	File        string
	From, To    int64
	First, Last int64
	Reason      string
}

// Verification is what Verify found.
type Verification struct {
	Batches, Records int64
	SizeBytes        int64
	Damage           []Damage     // in order of offset
	BadIndexes       []IndexError // the log makes them anew when it needs them
	Unknown          []string     // segments and indexes that the state doesn't know: the next Open removes them, the journal has what they hold
	Foreign          []string     // names that are not a log's
	NoDirectory      bool         // the log's directory is missing
}

// IndexError says what is wrong with an index.
type IndexError struct {
	File   string
	Reason string
}

// Verify reads all of a log as a checkpoint recorded it, and checks what can be checked: every batch's checksum, offset
// and epoch, and every entry of every index. The error is one of reading.
func Verify(fs vfs.FS, dir string, s State) (Verification, error) {
	var v Verification
	infos, err := fs.List(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		v.NoDirectory = true
	} else if err != nil {
		return v, err
	}
	known := map[SegmentName]bool{}
	for _, name := range s.Replaced {
		known[name] = true
	}
	for _, seg := range s.Segments {
		known[seg.SegmentName] = true
	}
	for _, i := range infos {
		switch name, _, ours := parseName(i.Name); {
		case !ours || i.Dir:
			v.Foreign = append(v.Foreign, path.Join(dir, i.Name))
		case !known[name]:
			v.Unknown = append(v.Unknown, path.Join(dir, i.Name))
		}
	}
	err = eachSegment(fs, dir, s, func(l *Log, seg *segment, end int64) error {
		index, bad, err := l.readIndex(seg)
		if err != nil {
			return err
		}
		found, next, before := segment{SegmentState: newSegment(seg.Base, seg.Generation)}, 0, len(v.Damage) // next: of index
		err = l.eachSound(seg, end, func(position int64, b batch.View) error {
			v.Batches++
			v.Records += int64(b.Count())
			v.SizeBytes += int64(len(b))
			for bad == "" && next < len(index) && int64(index[next].position) <= position {
				if e := index[next]; int64(e.position) != position || seg.Base+int64(e.offset) != b.BaseOffset() {
					bad = fmt.Sprintf("entry %d does not lead to a batch", next)
				} else if e.maxBefore != found.MaxTimestamp && len(v.Damage) == before {
					bad = fmt.Sprintf("entry %d says that the latest time before it is %d, it is %d", next, e.maxBefore, found.MaxTimestamp)
				}
				next++
			}
			found.add(b, DefaultIndexIntervalBytes)
			return nil
		}, func(d Damage) error {
			v.Damage = append(v.Damage, d)
			for next < len(index) && int64(index[next].position) < d.To { // they may be right
				next++
			}
			return nil
		})
		if err == nil && len(v.Damage) == before && !found.is(seg.SegmentState) {
			v.Damage = append(v.Damage, anothers(l, seg, end))
		}
		if err == nil && bad != "" {
			v.BadIndexes = append(v.BadIndexes, IndexError{fileKey{l, seg.SegmentName, indexFile}.path(), bad})
		}
		return err
	})
	return v, err
}

// is says whether a segment that was read as a whole is the one that is on record, and not another log's. Old states
// have no mark, only times.
func (s *segment) is(known SegmentState) bool {
	return s.FirstTimestamp == known.FirstTimestamp && s.MaxTimestamp == known.MaxTimestamp && s.MaxBase == known.MaxBase &&
		(s.Mark == known.Mark || known.Mark == Mark{})
}

// anothers is the damage of a segment in whose place stands another's.
func anothers(l *Log, seg *segment, end int64) Damage {
	return Damage{File: fileKey{l, seg.SegmentName, segmentFile}.path(), To: seg.SizeBytes, First: seg.Base, Last: end - 1, Reason: notOurs}
}

// eachSegment calls do for every segment of a log, which it opens over an overlay, with the offset after it.
func eachSegment(fs vfs.FS, dir string, s State, do func(l *Log, seg *segment, end int64) error) error {
	files := NewFiles(4)
	l, err := Open(vfs.NewOverlay(fs), dir, Config{Files: files}, s)
	if err != nil {
		return err
	}
	for i := range l.segments {
		seg, end := *l.segments[i], s.End
		if i+1 < len(l.segments) {
			end = l.segments[i+1].Base
		}
		if err := do(l, &seg, end); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return l.Close()
}

// eachSound goes through a segment, over whatever is damaged in it.
func (l *Log) eachSound(seg *segment, end int64, sound func(position int64, v batch.View) error, damaged func(Damage) error) error {
	name := fileKey{l, seg.SegmentName, segmentFile}.path()
	broken := func(from, to, first, next int64, reason string) error {
		return damaged(Damage{File: name, From: from, To: to, First: first, Last: next - 1, Reason: reason})
	}
	w, err := l.walk(seg, 0, seg.Base, scanBytes)
	if c, ok := errors.AsType[*CorruptError](err); ok {
		return broken(0, seg.SizeBytes, seg.Base, end, c.Reason)
	}
	if err != nil {
		return err
	}
	defer w.close()
	for {
		position := w.position
		v, err := w.next()
		c, corrupt := errors.AsType[*CorruptError](err)
		switch {
		case err == io.EOF && w.expect < end:
			// Its last batches are gone, and the file ends as if they had never been.
			return broken(w.position, seg.SizeBytes, w.expect, end, fmt.Sprintf("it ends with offset %d, the next segment begins with %d", w.expect-1, end))
		case err == io.EOF:
			return nil
		case corrupt:
			v, found, err := w.resync(end)
			if err != nil {
				return err
			}
			if !found {
				return broken(position, seg.SizeBytes, w.expect, end, c.Reason)
			}
			if v.BaseOffset() > w.expect {
				if err := broken(position, w.position, w.expect, v.BaseOffset(), c.Reason); err != nil {
					return err
				}
			}
			if err := sound(w.position, v); err != nil {
				return err
			}
			w.skip(v)
		case err != nil:
			return err
		case v.NextOffset() > end:
			return broken(position, seg.SizeBytes, v.BaseOffset(), end, fmt.Sprintf("a batch up to offset %d, the next segment begins with %d", v.LastOffset(), end))
		default:
			if err := sound(position, v); err != nil {
				return err
			}
		}
	}
}

// resync moves a walker to the next sound batch, at its position or behind it, and returns that.
func (w *walker) resync(end int64) (v batch.View, found bool, err error) {
	for from := w.position; ; {
		v, found, at, err := nextSound(w.f, from, w.end, w.expect)
		if err != nil || !found {
			return nil, false, err
		}
		here := at == w.position
		if v.NextOffset() <= end && v.LeaderEpoch() == w.epochs.at(v.BaseOffset()) && here == (v.BaseOffset() == w.expect) {
			w.position = at
			return v, true, nil
		}
		from = at + 1
	}
}

// nextSound finds the first whole batch at or behind a position whose checksum holds and which begins at offset least or
// above.
func nextSound(f vfs.File, from, sizeBytes, least int64) (v batch.View, found bool, at int64, err error) {
	const headBytes = batch.HeaderBytes
	window := make([]byte, min(seekBytes, max(sizeBytes-from, 0)))
	for from+headBytes <= sizeBytes {
		n, err := f.ReadAt(window[:min(int64(len(window)), sizeBytes-from)], from)
		if err != nil && err != io.EOF {
			return nil, false, 0, err
		}
		if n < headBytes {
			return nil, false, 0, nil
		}
		for i := 0; i+headBytes <= n; i++ {
			head := batch.View(window[i : i+headBytes])
			if head.MagicByte() != batch.Magic || head.BaseOffset() < least || head.LastOffsetDelta() < 0 {
				continue
			}
			at := from + int64(i)
			size, ok := batch.Length(head)
			if !ok || int64(size) > sizeBytes-at {
				continue
			}
			whole := make([]byte, size)
			if n, _ := f.ReadAt(whole, at); n == size && batch.Check(whole) == nil {
				return whole, true, at, nil
			}
		}
		from += int64(n - headBytes + 1)
	}
	return nil, false, 0, nil
}

// readIndex reads the entries of a segment's index as far as the state says it goes; bad says what is wrong with it.
func (l *Log) readIndex(seg *segment) (entries []indexEntry, bad string, _ error) {
	if seg.IndexBytes == 0 {
		return nil, "", nil
	}
	f, err := l.fs.OpenRead(fileKey{l, seg.SegmentName, indexFile}.path())
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, "the file is missing", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	b := make([]byte, seg.IndexBytes)
	n, err := f.ReadAt(b, 0)
	if n < len(b) {
		if err != nil && err != io.EOF {
			return nil, "", err
		}
		return nil, fmt.Sprintf("%d bytes are left of %d", n, len(b)), nil
	}
	if len(b) < indexHeaderBytes || string(b[:indexHeaderBytes]) != string(appendIndexHeader(nil, seg.Base)) {
		return nil, "its head is wrong", nil
	}
	seed := indexSeed(seg.Base)
	for at := indexHeaderBytes; at+indexEntryBytes <= len(b); at += indexEntryBytes {
		e, valid := decodeIndexEntry(b[at:], seed)
		if !valid {
			return nil, fmt.Sprintf("the checksum of entry %d at byte %d does not hold", len(entries), at), nil
		}
		entries = append(entries, e)
	}
	return entries, "", nil
}

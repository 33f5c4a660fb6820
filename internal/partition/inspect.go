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

// The functions in this file read logs that are not open, for tools and backups. They change no files.

// StateFile describes a segment or index file that a State refers to.
type StateFile struct {
	Name      string // name within the log's directory
	SizeBytes int64  // how many bytes of the file the state covers, from its beginning
	Index     bool   // the file is an index, which can be built again from its segment
	Base, End int64  // offsets of the file's segment: [Base, End)
}

// FilesOf returns the files that s refers to: each segment, followed by its index if it has one.
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

// Damage is a part of a segment file that cannot be used: the bytes [From, To), which contained the offsets [First,
// Last].
type Damage struct {
	File        string
	From, To    int64
	First, Last int64
	Reason      string
}

// Verification is the result of Verify.
type Verification struct {
	Batches, Records int64
	SizeBytes        int64
	Damage           []Damage     // in the order of offsets
	BadIndexes       []IndexError // indexes that cannot be used; the log builds them again when it needs them
	// Unknown has the segment and index files that the state does not contain. The next Open removes them, and the
	// journal has their batches.
	Unknown     []string
	Foreign     []string // files whose names are not those of a log's files
	NoDirectory bool     // the log's directory does not exist
}

// IndexError describes an index file that cannot be used.
type IndexError struct {
	File   string
	Reason string
}

// Verify reads the whole log that the state s describes and checks the checksum, offset and leader epoch of every batch
// and every entry of every index. The log must not be open. The result describes all damage; the error is only one of
// I/O.
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
		// next is the index of the next element of index to check
		found, next, before := segment{SegmentState: newSegment(seg.Base, seg.Generation)}, 0, len(v.Damage)
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
			// Entries that lead into damaged bytes are not checked.
			for next < len(index) && int64(index[next].position) < d.To {
				next++
			}
			return nil
		})
		if err == nil && len(v.Damage) == before && !found.matches(seg.SegmentState) {
			v.Damage = append(v.Damage, foreignDamage(l, seg, end))
		}
		if err == nil && bad != "" {
			v.BadIndexes = append(v.BadIndexes, IndexError{fileKey{l, seg.SegmentName, indexFile}.path(), bad})
		}
		return err
	})
	return v, err
}

// matches reports whether s, which was computed by reading a whole segment, agrees with the state known of that
// segment. A state without a fingerprint is compared by its timestamps only.
func (s *segment) matches(known SegmentState) bool {
	return s.FirstTimestamp == known.FirstTimestamp && s.MaxTimestamp == known.MaxTimestamp && s.MaxBase == known.MaxBase &&
		(s.Fingerprint == known.Fingerprint || known.Fingerprint == Fingerprint{})
}

// foreignDamage returns the damage of a segment whose file contains the batches of another segment.
func foreignDamage(l *Log, seg *segment, end int64) Damage {
	return Damage{File: fileKey{l, seg.SegmentName, segmentFile}.path(), To: seg.SizeBytes, First: seg.Base, Last: end - 1, Reason: reasonForeign}
}

// eachSegment calls do for every segment of the log with the state s, in order. end is the offset after the segment's
// last record. The log is opened over an overlay, so that no file of fs is changed.
func eachSegment(fs vfs.FS, dir string, s State, do func(l *Log, seg *segment, end int64) error) error {
	files := NewFileCache(4)
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

// eachSound reads a segment whose last record is before the offset end. It calls sound for each undamaged batch, and
// damaged for each damaged part between them, in the order of their positions. The batch v is valid until sound
// returns.
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
			// The last batches are missing, and the file ends as if they had never been written.
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

// resync moves the walker to the next undamaged batch at or after its position and returns the batch. end is the offset
// after the segment's last record. found is false if there is no undamaged batch.
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

// nextSound finds the first whole batch at or after the position from whose checksum is correct and whose base offset
// is at least least. It returns the batch, in new memory, and its position at. found is false if there is none.
func nextSound(f vfs.File, from, sizeBytes, least int64) (v batch.View, found bool, at int64, err error) {
	const headBytes = batch.HeaderBytes
	buffer := make([]byte, min(seekBytes, max(sizeBytes-from, 0)))
	for from+headBytes <= sizeBytes {
		n, err := f.ReadAt(buffer[:min(int64(len(buffer)), sizeBytes-from)], from)
		if err != nil && err != io.EOF {
			return nil, false, 0, err
		}
		if n < headBytes {
			return nil, false, 0, nil
		}
		for i := 0; i+headBytes <= n; i++ {
			head := batch.View(buffer[i : i+headBytes])
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

// readIndex reads the entries of a segment's index, as far as the state covers the file. bad describes what is wrong
// with the index; it is empty if the index is usable. The error is one of I/O.
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

package partition

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"slices"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Mended is what Mend wrote.
type Mended struct {
	State    State    // of the log with the new files
	New      []string // names in the log's directory; they stand in the staging directory
	Aside    []string // names in the log's directory that the new state doesn't refer to any more; they may be missing
	Lost     []Damage // what is not in the new files: gaps stand for it
	Restored int64    // offsets that were damaged and could be taken from elsewhere
}

// Sources say where Mend may find what is damaged in its own place.
type Sources struct {
	// Files are segment files that may have come to stand under a wrong name. One is only taken where all of it fits.
	Files []string
	// Find returns sound batches in order of offset, none outside [first, last]. It may be nil.
	Find func(first, last int64) []batch.View
}

// Mend writes anew, to a staging directory, each segment of a log that is damaged: sound batches as they are, those that
// the sources have in the place of damaged ones, and gaps for the rest, as after a compaction. So what is left keeps its
// offsets, and no offset is ever given again. The log's own files are not touched.
func Mend(fs vfs.FS, dir, staging string, s State, from Sources) (Mended, error) {
	out := Mended{State: s}
	out.State.Segments = slices.Clone(s.Segments)
	if err := fs.MkdirAll(staging); err != nil {
		return out, err
	}
	at := 0
	err := eachSegment(fs, dir, s, func(l *Log, seg *segment, end int64) error {
		i := at
		at++
		var damage []Damage
		found := segment{SegmentState: newSegment(seg.Base, seg.Generation)}
		err := l.eachSound(seg, end,
			func(_ int64, v batch.View) error { found.add(v, DefaultIndexIntervalBytes); return nil },
			func(d Damage) error { damage = append(damage, d); return nil })
		foreign := err == nil && len(damage) == 0 && !found.is(seg.SegmentState)
		if foreign {
			damage = append(damage, anothers(l, seg, end))
		}
		if err != nil || len(damage) == 0 {
			return err
		}
		old := fileName(seg.SegmentName, segmentFile)
		if damage[0].From == 0 {
			if file, err := misplaced(fs, dir, s, seg.SegmentState, end, from.Files); err != nil || file != "" {
				if err == nil {
					err = copyStaged(fs, file, path.Join(staging, old), seg.SizeBytes)
				}
				out.New, out.Aside = append(out.New, old), append(out.Aside, old)
				out.Restored += end - seg.Base
				return err
			}
		}
		r := rewrite{fs: fs, fresh: &segment{SegmentState: newSegment(seg.Base, seg.Generation+1)}, next: seg.Base, known: l.epochs}
		name := fileName(r.fresh.SegmentName, segmentFile)
		if r.file, err = fs.Create(path.Join(staging, name)); err != nil {
			return err
		}
		if foreign {
			err = r.fill(damage[0], from.Find, &out)
		} else {
			err = l.eachSound(seg, end, func(_ int64, v batch.View) error { return r.add(v) }, func(d Damage) error {
				return r.fill(d, from.Find, &out)
			})
		}
		if err == nil {
			err = r.flush()
		}
		if err == nil {
			err = r.file.Sync()
		}
		if err = errors.Join(err, r.file.Close()); err != nil {
			return err
		}
		out.New = append(out.New, name)
		if len(r.fresh.pending) > 0 {
			index := fileName(r.fresh.SegmentName, indexFile)
			if r.fresh.IndexBytes, err = writeIndexFile(fs, path.Join(staging, index), r.fresh); err != nil {
				return err
			}
			out.New = append(out.New, index)
		}
		out.State.Segments[i] = r.fresh.SegmentState
		out.Aside = append(out.Aside, old, fileName(seg.SegmentName, indexFile))
		return nil
	})
	if err == nil {
		err = out.State.check()
	}
	return out, err
}

// misplaced finds the file that holds all of a segment, to the byte and the time, under another name; "" if none does.
func misplaced(fs vfs.FS, dir string, s State, seg SegmentState, end int64, files []string) (string, error) {
	name := path.Join(dir, fileName(seg.SegmentName, segmentFile))
	alone := State{Start: seg.Base, End: end, Epochs: s.Epochs, Segments: []SegmentState{seg}}
	alone.Segments[0].IndexBytes = 0
	for _, file := range files {
		info, err := fs.Stat(file)
		if err != nil || file == name || info.SizeBytes < seg.SizeBytes {
			continue
		}
		overlay := vfs.NewOverlay(fs)
		if err := errors.Join(overlay.MkdirAll(dir), overlay.RemoveAll(name), overlay.Link(file, name)); err != nil {
			return "", err
		}
		found, fits := segment{SegmentState: newSegment(seg.Base, seg.Generation)}, true
		err = eachSegment(overlay, dir, alone, func(l *Log, seg *segment, end int64) error {
			return l.eachSound(seg, end,
				func(_ int64, v batch.View) error { found.add(v, DefaultIndexIntervalBytes); return nil },
				func(Damage) error { fits = false; return nil })
		})
		if err != nil {
			return "", err
		}
		if fits && found.SizeBytes == seg.SizeBytes && found.is(seg) {
			return file, nil
		}
	}
	return "", nil
}

// copyStaged copies the first sizeBytes of a file, durably but for its name.
func copyStaged(fs vfs.FS, from, to string, sizeBytes int64) error {
	in, err := fs.OpenRead(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fs.Create(to)
	if err != nil {
		return err
	}
	buf := make([]byte, min(sizeBytes, writeBytes))
	for at := int64(0); at < sizeBytes && err == nil; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), sizeBytes-at)]
		if n, readErr := in.ReadAt(b, at); n < len(b) {
			err = errors.Join(readErr, io.ErrUnexpectedEOF)
		} else {
			_, err = out.WriteAt(b, at)
		}
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// MendIndex makes the index anew that a state refers to, of a segment that is sound, in a staging directory.
// intervalBytes is that of the log; a smaller one is taken if the index would be shorter than the state says.
func MendIndex(fs vfs.FS, dir, staging string, s State, index StateFile, intervalBytes int) error {
	return eachSegment(fs, dir, s, func(l *Log, seg *segment, end int64) error {
		if fileName(seg.SegmentName, indexFile) != index.Name {
			return nil
		}
		for interval := intervalBytes; ; interval /= 2 {
			fresh := &segment{SegmentState: newSegment(seg.Base, seg.Generation)}
			err := l.eachSound(seg, end,
				func(_ int64, v batch.View) error { fresh.add(v, interval); return nil },
				func(d Damage) error { return &CorruptError{File: d.File, Position: d.From, Reason: d.Reason} })
			if err != nil {
				return err
			}
			if interval <= 1 || int64(indexHeaderBytes+indexEntryBytes*len(fresh.pending)) >= index.SizeBytes {
				_, err = writeIndexFile(fs, path.Join(staging, index.Name), fresh)
				return err
			}
		}
	})
}

// writeIndexFile writes the index of a segment of which all entries are pending.
func writeIndexFile(fs vfs.FS, name string, seg *segment) (sizeBytes int64, err error) {
	b, seed := appendIndexHeader(nil, seg.Base), indexSeed(seg.Base)
	for _, e := range seg.pending {
		b = e.append(b, seed)
	}
	f, err := fs.Create(name)
	if err != nil {
		return 0, err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	return int64(len(b)), errors.Join(err, f.Close())
}

// Leftovers returns the sound batches in a log's directory that its state doesn't cover, since they were written after the
// checkpoint: behind the end of its last segment, and in segments that begin where what is known ends. They follow each
// other. Batches don't say whose they are: what stands in the place of a known segment is not taken for more than that.
func Leftovers(fs vfs.FS, dir string, s State) ([]batch.View, error) {
	infos, err := fs.List(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next := s.End
	var left []batch.View
	take := func(file string, from, sizeBytes int64) error {
		f, err := fs.OpenRead(file)
		if err != nil {
			return err
		}
		defer f.Close()
		for from < sizeBytes {
			v, found, at, err := nextSound(f, from, sizeBytes, next)
			if err != nil || !found || at != from || v.BaseOffset() != next {
				return err
			}
			left = append(left, v)
			from, next = at+int64(len(v)), v.NextOffset()
		}
		return nil
	}
	for _, i := range infos { // in order of base offset
		name, kind, ours := parseName(i.Name)
		if !ours || i.Dir || kind != segmentFile {
			continue
		}
		file, known := path.Join(dir, i.Name), false
		for n, seg := range s.Segments {
			if seg.SegmentName != name {
				continue
			}
			known = true
			if n == len(s.Segments)-1 && i.SizeBytes > seg.SizeBytes {
				if err := take(file, seg.SizeBytes, i.SizeBytes); err != nil {
					return nil, err
				}
			}
		}
		if !known && name.Base == next && name.Generation == 0 {
			if err := take(file, 0, i.SizeBytes); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// rewrite is a segment being written anew.
type rewrite struct {
	fs     vfs.FS
	file   vfs.File
	fresh  *segment
	next   int64 // the offset that follows
	known  epochs
	buf    []byte
	inFile int64
}

func (r *rewrite) add(v batch.View) error {
	if v.BaseOffset() != r.next {
		return fmt.Errorf("partition: a batch at offset %d where %d belongs", v.BaseOffset(), r.next)
	}
	r.fresh.add(v, DefaultIndexIntervalBytes)
	r.buf = append(r.buf, v...)
	r.next = v.NextOffset()
	if len(r.buf) < writeBytes {
		return nil
	}
	return r.flush()
}

func (r *rewrite) flush() error {
	_, err := r.file.WriteAt(r.buf, r.inFile)
	r.inFile += int64(len(r.buf))
	r.buf = r.buf[:0]
	return err
}

// fill puts what there is in the place of what is damaged.
func (r *rewrite) fill(d Damage, find func(first, last int64) []batch.View, out *Mended) error {
	lose := func(to int64) error {
		if to <= r.next {
			return nil
		}
		lost := d
		lost.First, lost.Last = r.next, to-1
		out.Lost = append(out.Lost, lost)
		for r.next < to {
			last := min(to, r.next+1<<31) - 1
			if err := r.add(batch.AppendGap(nil, r.next, last, r.known.at(r.next))); err != nil {
				return err
			}
		}
		return nil
	}
	if find != nil {
		for _, v := range find(d.First, d.Last) {
			if v.BaseOffset() < r.next || v.LastOffset() > d.Last || checkStored(v, r.known) != "" {
				continue
			}
			if err := lose(v.BaseOffset()); err != nil {
				return err
			}
			if err := r.add(v); err != nil {
				return err
			}
			out.Restored += int64(v.LastOffsetDelta()) + 1
		}
	}
	return lose(d.Last + 1)
}

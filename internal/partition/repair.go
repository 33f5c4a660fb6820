package partition

import (
	"errors"
	"path"
	"slices"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Repaired is the result of Repair.
type Repaired struct {
	State    State    // state of the log when the new files have replaced the old ones
	New      []string // files that Repair wrote to the staging directory; they get the same names in the log's directory
	Aside    []string // files of the log's directory that State does not refer to any more; some of them may not exist
	Lost     []Damage // what could not be restored; the new files have gaps instead
	Restored int64    // number of damaged offsets that were restored from the sources
}

// Sources provides Repair with copies of damaged batches from other places.
type Sources struct {
	// Files are the full names of segment files that may have got the wrong name. Repair uses a file only if all of it
	// fits.
	Files []string
	// Find returns undamaged batches with offsets in [first, last], in the order of offsets. It may be nil.
	Find func(first, last int64) []batch.View
}

// Repair writes a new file to a staging directory for each damaged segment of the log with the state s. The new file
// contains the undamaged batches unchanged, batches from the sources in the place of damaged ones, and gaps, as after a
// compaction, for what is lost. Records therefore keep their offsets, and no offset is given twice. The log's own files
// are not changed. The new files are synced; the staging directory is not. After an error the content of the staging
// directory must not be used. The log must not be open.
func Repair(fs vfs.FS, dir, staging string, s State, from Sources) (Repaired, error) {
	r := repairer{fs: fs, dir: dir, staging: staging, state: s, from: from, out: Repaired{State: s}}
	r.out.State.Segments = slices.Clone(s.Segments)
	if err := fs.MkdirAll(staging); err != nil {
		return r.out, err
	}
	i := 0
	err := eachSegment(fs, dir, s, func(l *Log, seg *segment, end int64) error {
		defer func() { i++ }()
		return r.segment(i, l, seg, end)
	})
	if err == nil {
		err = r.out.State.check()
	}
	return r.out, err
}

// repairer is the state of one call of Repair.
type repairer struct {
	fs           vfs.FS
	dir, staging string
	state        State // the state of the log in the checkpoint
	from         Sources
	out          Repaired
}

// segment repairs the i-th segment of the state if it is damaged. end is the offset after the segment's last record.
func (r *repairer) segment(i int, l *Log, seg *segment, end int64) error {
	var damage []Damage
	found := segment{SegmentState: newSegment(seg.Base, seg.Generation)}
	err := l.eachSound(seg, end,
		func(_ int64, v batch.View) error { found.add(v, DefaultIndexIntervalBytes); return nil },
		func(d Damage) error { damage = append(damage, d); return nil })
	if err != nil {
		return err
	}
	foreign := len(damage) == 0 && !found.matches(seg.SegmentState)
	if foreign {
		damage = append(damage, foreignDamage(l, seg, end))
	}
	if len(damage) == 0 {
		return nil
	}
	if damage[0].From == 0 {
		file, err := misplaced(r.fs, r.dir, r.state, seg.SegmentState, end, r.from.Files)
		if err != nil {
			return err
		}
		if file != "" {
			name := fileName(seg.SegmentName, segmentFile)
			r.out.New, r.out.Aside = append(r.out.New, name), append(r.out.Aside, name)
			r.out.Restored += end - seg.Base
			return vfs.CopyFile(r.fs, file, path.Join(r.staging, name), seg.SizeBytes, true)
		}
	}

	w := r.writer(l, seg)
	if err := w.create(); err != nil {
		return err
	}
	if foreign {
		err = r.fill(w, damage[0])
	} else {
		err = l.eachSound(seg, end, func(_ int64, v batch.View) error { return w.add(v) }, func(d Damage) error { return r.fill(w, d) })
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		return errors.Join(err, w.discard())
	}
	return r.use(i, seg, w.seg)
}

// writer returns a writer for the segment that replaces seg. The new segment's generation is one higher than that of
// seg.
func (r *repairer) writer(l *Log, seg *segment) *segmentWriter {
	fresh := &segment{SegmentState: newSegment(seg.Base, seg.Generation+1)}
	return &segmentWriter{fs: r.fs, name: path.Join(r.staging, fileName(fresh.SegmentName, segmentFile)), seg: fresh, next: seg.Base,
		epochs: l.epochs, indexIntervalBytes: DefaultIndexIntervalBytes}
}

// use replaces the i-th segment of the new state by fresh, which was written, and writes the index of fresh.
func (r *repairer) use(i int, old, fresh *segment) (err error) {
	r.out.New = append(r.out.New, fileName(fresh.SegmentName, segmentFile))
	if len(fresh.pending) > 0 {
		index := fileName(fresh.SegmentName, indexFile)
		if fresh.IndexBytes, err = writeIndexFile(r.fs, path.Join(r.staging, index), fresh); err != nil {
			return err
		}
		r.out.New = append(r.out.New, index)
	}
	r.out.State.Segments[i] = fresh.SegmentState
	r.out.Aside = append(r.out.Aside, fileName(old.SegmentName, segmentFile), fileName(old.SegmentName, indexFile))
	return nil
}

// misplaced returns the name of a file that contains the whole segment seg, byte for byte and with the same
// fingerprint, under another name. It returns "" if no file does.
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
		if fits && found.SizeBytes == seg.SizeBytes && found.matches(seg) {
			return file, nil
		}
	}
	return "", nil
}

// RepairIndex builds an index to which the state s refers from its segment, which must be undamaged, and writes it to
// the staging directory. intervalBytes is the index interval of the log. If the index would get shorter than the state
// says, RepairIndex uses a smaller interval.
func RepairIndex(fs vfs.FS, dir, staging string, s State, index StateFile, intervalBytes int) error {
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

// writeIndexFile creates the index file of a segment at name, writes the entries in seg.pending to it, and syncs it.
// The entries must be all entries of the segment. It returns the size of the file in bytes.
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

// fill writes batches from the sources in the place of the damaged batches d, and gaps for offsets that the sources
// lack. It adds to r.out what was restored and what is lost. w.next must be at or before the first damaged offset, and
// is after the last one when fill returns nil.
func (r *repairer) fill(w *segmentWriter, d Damage) error {
	lose := func(to int64) error {
		if to <= w.next {
			return nil
		}
		lost := d
		lost.First, lost.Last = w.next, to-1
		r.out.Lost = append(r.out.Lost, lost)
		return w.gap(to)
	}
	if r.from.Find != nil {
		for _, v := range r.from.Find(d.First, d.Last) {
			if v.BaseOffset() < w.next || v.LastOffset() > d.Last || checkStored(v, w.epochs) != "" {
				continue
			}
			if err := lose(v.BaseOffset()); err != nil {
				return err
			}
			if err := w.add(v); err != nil {
				return err
			}
			r.out.Restored += int64(v.LastOffsetDelta()) + 1
		}
	}
	return lose(d.Last + 1)
}

package partition

import (
	"errors"
	iofs "io/fs"
	"path"
	"slices"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Reconstructed is what Reconstruct has found in the files of a log.
type Reconstructed struct {
	State   State    // a state with which the log can be opened, as far as its files show it
	Damaged bool     // some segment is damaged, so that Repair has something to do
	Aside   []string // segment and index files in the log's directory that the state does not refer to
}

// Reconstruct derives the state of a log from its files, without a checkpoint: where the log begins and ends, its
// segments, its leader epochs and its transactions. It calls sound with each undamaged batch, in the order of offsets; the batch is valid
// until sound returns. The result lacks what only a checkpoint contains: a log start inside the first segment, and the
// offset up to which the log is compacted. Indexes are not used. Reconstruct changes no file. The log must not be open.
func Reconstruct(fs vfs.FS, dir string, sound func(batch.View)) (Reconstructed, error) {
	var out Reconstructed
	infos, err := fs.List(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	var all []candidate
	for _, i := range infos {
		name, kind, ours := parseName(i.Name)
		switch {
		case !ours || i.Dir:
		case kind == indexFile || i.SizeBytes == 0:
			out.Aside = append(out.Aside, i.Name)
		default:
			c := candidate{SegmentName: name, sizeBytes: i.SizeBytes}
			if err := c.read(fs, dir); err != nil {
				return out, err
			}
			all = append(all, c)
		}
	}
	// Compaction has replaced every segment that begins inside a segment of a later generation.
	slices.SortFunc(all, func(a, b candidate) int {
		if a.Generation != b.Generation {
			return int(b.Generation) - int(a.Generation)
		}
		return int(min(1, max(-1, a.Base-b.Base)))
	})
	var used []candidate
	for _, c := range all {
		covered := slices.ContainsFunc(used, func(u candidate) bool { return c.Base >= u.Base && c.Base < u.end })
		if covered || len(c.batches) == 0 {
			out.Aside = append(out.Aside, fileName(c.SegmentName, segmentFile))
		} else {
			used = append(used, c)
		}
	}
	slices.SortFunc(used, func(a, b candidate) int { return int(min(1, max(-1, a.Base-b.Base))) })
	if len(used) == 0 {
		return out, nil
	}

	s := &out.State
	s.Start, s.End = used[0].Base, used[len(used)-1].end
	for i, c := range used {
		end, seg := s.End, segment{SegmentState: newSegment(c.Base, c.Generation)}
		if i+1 < len(used) {
			end = used[i+1].Base
		}
		next, used := c.Base, 0
		for _, b := range c.batches {
			v := batch.View(b[:])
			if v.BaseOffset() >= end {
				out.Damaged = true
				break
			}
			out.Damaged = out.Damaged || v.BaseOffset() != next
			next = v.NextOffset()
			seg.add(v, DefaultIndexIntervalBytes)
			used++
			if n := len(s.Epochs); n == 0 || v.LeaderEpoch() > s.Epochs[n-1].Epoch {
				s.Epochs = append(s.Epochs, EpochStart{Epoch: v.LeaderEpoch(), Offset: v.BaseOffset()})
			}
		}
		out.Damaged = out.Damaged || next != end
		seg.SizeBytes = c.soundBytes
		if used < len(c.batches) {
			seg.Fingerprint = Fingerprint{} // Repair will write the segment again
		}
		s.Segments = append(s.Segments, seg.SegmentState)
	}
	var found transactions
	err = eachSegment(fs, dir, *s, func(l *Log, seg *segment, end int64) error {
		return l.eachSound(seg, end, func(_ int64, v batch.View) error { found.add(v); sound(v); return nil },
			func(Damage) error { out.Damaged = true; return nil })
	})
	s.Open, s.Aborted = found.asOf(s.End)
	return out, err
}

// candidate is a segment file that may belong to the log that Reconstruct looks at.
type candidate struct {
	SegmentName
	sizeBytes  int64
	batches    [][batch.HeaderBytes]byte // headers of the file's undamaged batches
	soundBytes int64                     // position in the file after the last undamaged batch
	end        int64                     // offset after the last undamaged batch
}

// read finds the undamaged batches of the file and sets the fields of c that describe them.
func (c *candidate) read(fs vfs.FS, dir string) error {
	f, err := fs.OpenRead(path.Join(dir, fileName(c.SegmentName, segmentFile)))
	if err != nil {
		return err
	}
	defer f.Close()
	expect := c.Base
	for at := int64(0); at+batch.HeaderBytes <= c.sizeBytes; {
		v, found, position, err := nextSound(f, at, c.sizeBytes, expect)
		if err != nil || !found {
			return err
		}
		c.batches = append(c.batches, [batch.HeaderBytes]byte(v))
		at = position + int64(len(v))
		c.soundBytes, c.end, expect = at, v.NextOffset(), v.NextOffset()
	}
	return nil
}

package partition

import (
	"errors"
	iofs "io/fs"
	"path"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Leftovers returns undamaged batches that are in a log's directory but not covered by the state s, because they were
// written after the checkpoint. The first batch begins at s.End, and each begins where the one before ends. Leftovers
// looks behind the end of the last segment and in segment files that begin where the known batches end. Since a batch
// does not contain its partition, nothing proves that a file found there belongs to this log.
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
	for _, i := range infos { // in the order of base offsets
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

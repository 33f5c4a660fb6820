package backup

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"

	"tidings.dev/internal/vfs"
)

// Verified is the result of Verify.
type Verified struct {
	Backups []Head
	Chunks  int
	Bytes   int64
	// Damage are the manifests that cannot be read, and the chunks that are damaged or missing, with the files that
	// need them.
	Damage  []*DamageError
	Foreign []string // names of files in the directories of chunks that are not chunks
	Unused  int      // number of chunks that no backup needs, such as those of an interrupted backup
}

// Verify reads and verifies all manifests and chunks. Damage is reported in the result. The error is one of I/O, a
// *FormatError, or the cause of ctx.
func (s *Store) Verify(ctx context.Context) (Verified, error) {
	var v Verified
	names, err := s.Names()
	if err != nil {
		return v, err
	}
	users := map[hash][]string{} // for each chunk the files that need it, as backup:path
	for _, name := range names {
		m, err := s.Load(name)
		if damage, ok := errors.AsType[*DamageError](err); ok {
			v.Damage = append(v.Damage, damage)
			continue
		}
		if err != nil {
			return v, err
		}
		v.Backups = append(v.Backups, m.Head)
		for _, f := range m.Files {
			for _, h := range f.Chunks {
				users[h] = append(users[h], name+":"+f.Path)
			}
		}
	}
	seen := map[hash]bool{}
	err = s.eachChunk(func(name string, info vfs.Info) error {
		h := hash(path.Base(name))
		if !h.valid() || h.path() != name {
			v.Foreign = append(v.Foreign, name)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		seen[h] = true
		if users[h] == nil {
			v.Unused++
		}
		_, err := s.get(h)
		if damage, ok := errors.AsType[*DamageError](err); ok {
			damage.Needed = users[h]
			v.Damage = append(v.Damage, damage)
			return nil
		}
		v.Chunks++
		v.Bytes += info.SizeBytes
		return err
	})
	if err != nil {
		return v, err
	}
	for _, h := range slices.Sorted(maps.Keys(users)) {
		if !seen[h] {
			v.Damage = append(v.Damage, &DamageError{File: h.path(), Reason: "the chunk is missing", Needed: users[h]})
		}
	}
	return v, nil
}

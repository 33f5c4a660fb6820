package journal

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"tidings.dev/internal/vfs"
)

// beginFile returns an empty file for the next frames, whose name and length are durable: the file that prepare has
// made, or a file that it makes now. A file that it makes has at least frameBytes if possible. The file may contain
// zeros or frames of an earlier generation. If the error matches ErrFull, nothing was changed. With a priority above
// PriorityNormal the file may come from the reserve. beginFile does I/O.
func (s *files) beginFile(frameBytes int64, priority Priority) (*openFile, error) {
	s.naming.Lock()
	defer s.naming.Unlock()
	s.mu.Lock()
	s.prepareFailed = false
	s.mu.Unlock()
	next, err := s.takeNext()
	if next != nil || err != nil {
		return next, err
	}
	generation := s.takeGeneration()
	spare, size := s.takeSpare(), s.fileBytes
	if spare == "" {
		if spare, size, err = s.makeFile(generation, frameBytes, priority); err != nil {
			if errors.Is(err, ErrFull) {
				s.setFull(true)
			}
			return nil, err
		}
	}
	next, err = s.activate(spare, size, generation)
	if errors.Is(err, ErrFull) {
		s.setFull(true)
	}
	return next, err
}

// takeNext returns the prepared file, which belongs to the caller then, or the error of preparing it. It returns nil,
// nil if no file was prepared. s.naming must be held.
func (s *files) takeNext() (*openFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.next
	s.next = nil
	return next, s.nextErr
}

// takeSpare removes a file from the spares and returns its name, or "" if there is no spare.
func (s *files) takeSpare() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spares)
	if n == 0 {
		return ""
	}
	spare := s.spares[n-1]
	s.spares = s.spares[:n-1]
	return spare
}

// takeGeneration returns a generation that no file has or ever had.
func (s *files) takeGeneration() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextGeneration++
	return s.nextGeneration - 1
}

// activate renames a spare to the journal file of a generation and makes the new name durable. The generation must be
// higher than that of any journal file. s.naming must be held from the moment at which the generation was taken, so
// that files come into use in the order of their generations. If the error matches ErrFull, nothing was changed.
func (s *files) activate(spare string, sizeBytes int64, generation uint64) (*openFile, error) {
	f, err := s.fs.Open(path.Join(s.dir, spare))
	if err != nil {
		if vfs.IsNoDescriptors(err) {
			s.keepSpare(spare, sizeBytes)
		}
		return nil, fullError(err)
	}
	// The spare may have been made by a process that was killed after it wrote the file and before it synced the file.
	if err = f.Sync(); err == nil {
		err = s.fs.Rename(path.Join(s.dir, spare), path.Join(s.dir, journalName(generation)))
	}
	if err == nil {
		err = s.addMarker(generation)
	}
	if err == nil {
		// This must be done before the first frame of the new generation is written: after a crash the file could
		// otherwise have its old name and a frame of the new generation.
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openFile{f: f, generation: generation, sizeBytes: sizeBytes}, nil
}

// keepSpare puts a file that could not be opened back among the spares, or the files of the reserve. A file of another
// length is removed.
func (s *files) keepSpare(name string, sizeBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case sizeBytes == s.fileBytes:
		s.spares = append(s.spares, name)
	case sizeBytes == s.reserveBytes():
		s.reserves = append(s.reserves, name)
	default:
		_ = s.fs.Remove(path.Join(s.dir, name)) // else the next Open removes it
	}
}

// addMarker creates the marker of the file with a generation. It also removes the markers of the files before the one
// in use, which a recovery does not need. The caller must sync the directory, which makes the names of marker and file
// durable. s.naming must be held.
func (s *files) addMarker(generation uint64) error {
	needed := s.inUse()
	var kept, old []uint64 // of the existing markers: those that must stay, and those that may be removed
	for _, m := range s.markers {
		if s.opening || m >= needed {
			kept = append(kept, m)
		} else {
			old = append(old, m)
		}
	}
	s.markers = append(s.markers, generation) // on an error below, markers lists all files that may exist
	if len(old) == 0 {
		err := s.createMarker(generation)
		if err == nil || len(kept) == 0 || !errors.Is(fullError(err), ErrFull) {
			return err
		}
		// The disk has no space for another name, and the marker of the newest file is the most important one.
		kept, old = kept[1:], kept[:1]
	}
	if err := s.fs.Rename(path.Join(s.dir, markerName(old[0])), path.Join(s.dir, markerName(generation))); err != nil {
		return err
	}
	for _, m := range old[1:] {
		if err := s.fs.Remove(path.Join(s.dir, markerName(m))); err != nil {
			return err
		}
	}
	s.markers = append(kept, generation)
	return nil
}

// createMarker creates the marker of the file with a generation.
func (s *files) createMarker(generation uint64) error {
	f, err := s.fs.Create(path.Join(s.dir, markerName(generation)))
	if err != nil {
		return err
	}
	return f.Close()
}

// removeMarker removes the marker of a file, if it has one. It must be called before the file is removed: the two
// removals then reach the disk in this order, so that no crash leaves a marker without its file. s.naming must be held.
func (s *files) removeMarker(generation uint64) error {
	i := slices.Index(s.markers, generation)
	if i < 0 {
		return nil
	}
	if err := s.fs.Remove(path.Join(s.dir, markerName(generation))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.markers = slices.Delete(s.markers, i, i+1)
	return nil
}

// inUse returns the generation of the last file that has a frame, or 0 if no file has one.
func (s *files) inUse() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) == 0 {
		return 0
	}
	return s.live[len(s.live)-1].generation
}

// prepare makes the next file in the background and returns at once. The commit that needs the file then waits neither
// until zeros are written to it nor until its name is durable. To a recovery a prepared file looks like a file that was
// begun and got no frame.
func (s *files) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing || s.prepareFailed || s.ended || s.full || s.next != nil || s.nextErr != nil {
		return
	}
	s.preparing = true
	s.background.Go(func() {
		s.beginNext(s.prepareSpare())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.preparing = false
	})
}

// prepareSpare makes a spare if there is none.
func (s *files) prepareSpare() error {
	s.mu.Lock()
	enough := len(s.spares) > 0
	s.mu.Unlock()
	if enough {
		return nil
	}
	name := spareName(s.takeGeneration())
	if err := s.makeSpare(name, s.fileBytes); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares = append(s.spares, name)
	return nil
}

// beginNext makes a spare the next file. noSpare is the error of prepareSpare. beginNext does nothing if there is no
// spare, or if the journal is closing or full; beginFile then makes a shorter file when it needs one.
func (s *files) beginNext(noSpare error) {
	if noSpare != nil {
		if !errors.Is(noSpare, ErrClosed) {
			s.log.Warn("no spare journal file could be made", "dir", s.dir, "cause", noSpare)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.prepareFailed = true // so that prepare is not tried again at each commit
		return
	}
	s.naming.Lock()
	defer s.naming.Unlock()
	s.mu.Lock()
	unwanted := s.ended || s.full
	s.mu.Unlock()
	if unwanted {
		return
	}
	spare := s.takeSpare()
	if spare == "" {
		return
	}
	next, err := s.activate(spare, s.fileBytes, s.takeGeneration())
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, ErrFull) {
		s.prepareFailed = true // nothing was changed: beginFile tries again
		return
	}
	s.next, s.nextErr = next, err
}

// returnNext makes the prepared file, if there is one, a spare again. It does I/O.
func (s *files) returnNext() error {
	s.naming.Lock()
	defer s.naming.Unlock()
	next, err := s.takeNext()
	if next == nil {
		return err
	}
	// Nothing was written to the file, so that an error of Close can be ignored.
	_ = next.f.Close()
	spare := spareName(next.generation)
	if err = s.removeMarker(next.generation); err == nil {
		err = s.fs.Rename(path.Join(s.dir, journalName(next.generation)), path.Join(s.dir, spare))
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.nextErr = err
		return err
	}
	s.spares = append(s.spares, spare)
	return nil
}

// makeSpare creates a file of zeros and makes its length and content durable. It syncs after every spareStep bytes, so
// that commits which happen meanwhile wait only for a little data. If it fails, or if the journal is closed meanwhile,
// for which it returns ErrClosed, it removes the file.
func (s *files) makeSpare(name string, sizeBytes int64) error {
	name = path.Join(s.dir, name)
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	for at := int64(0); at < sizeBytes && err == nil; at += spareStep {
		if s.closed() {
			err = ErrClosed
		} else if err = f.Allocate(min(at+spareStep, sizeBytes)); err == nil {
			err = f.Sync()
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, s.fs.Remove(name))
	}
	return nil
}

package journal

import (
	"errors"
	"io/fs"
	"path"
	"slices"
)

// begin returns a new file, with zeros or with what it held in an earlier life, whose name and length are durable: the
// one that was begun ahead, or one begun now. An error that matches ErrFull has changed nothing; above the ordinary rank,
// the file comes from what is kept back, if need be.
func (s *files) begin(frameBytes int64, rank Rank) (*openFile, error) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
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
		if spare, size, err = s.makeFile(generation, frameBytes, rank); err != nil {
			if errors.Is(err, ErrFull) {
				s.setFull(true)
			}
			return nil, err
		}
	}
	return s.name(spare, size, generation)
}

// takeNext returns the file that was begun ahead, or why it could not be, or neither. With beginning held.
func (s *files) takeNext() (*openFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.next
	s.next = nil
	return next, s.nextErr
}

// takeSpare returns the name of a file to be reused, or "".
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

// takeGeneration returns a number that nothing has yet.
func (s *files) takeGeneration() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextGeneration++
	return s.nextGeneration - 1
}

// name makes a spare a file of the journal, durably, and the last one. With beginning held since its generation was
// taken, so that files are used in the order of their generations.
func (s *files) name(spare string, sizeBytes int64, generation uint64) (*openFile, error) {
	f, err := s.fs.Open(path.Join(s.dir, spare))
	if err != nil {
		return nil, err
	}
	// A spare may come from a process that was killed between giving it its length and syncing that.
	if err = f.Sync(); err == nil {
		err = s.fs.Rename(path.Join(s.dir, spare), path.Join(s.dir, journalName(generation)))
	}
	if err == nil {
		err = s.mark(generation)
	}
	if err == nil {
		// Before the first frame of the new generation: a frame must never come to stand under an older name.
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openFile{f: f, generation: generation, sizeBytes: sizeBytes}, nil
}

// mark adds the name that says that a file must be there, and takes away those of files before the one in use, behind
// which the journal has come safely. The directory is synced by the caller, with the file's own name. With beginning held.
func (s *files) mark(generation uint64) error {
	needed := s.inUse()
	var kept, old []uint64
	for _, m := range s.marked {
		if s.opening || m >= needed {
			kept = append(kept, m)
		} else {
			old = append(old, m)
		}
	}
	s.marked = append(s.marked, generation) // should something fail, all that may be there
	if len(old) == 0 {
		err := s.makeMark(generation)
		if err == nil || len(kept) == 0 || !errors.Is(fullError(err), ErrFull) {
			return err
		}
		kept, old = kept[1:], kept[:1] // where there is no room for a name, the newest file's counts more
	}
	if err := s.fs.Rename(path.Join(s.dir, latestName(old[0])), path.Join(s.dir, latestName(generation))); err != nil {
		return err
	}
	for _, m := range old[1:] {
		if err := s.fs.Remove(path.Join(s.dir, latestName(m))); err != nil {
			return err
		}
	}
	s.marked = append(kept, generation)
	return nil
}

func (s *files) makeMark(generation uint64) error {
	f, err := s.fs.Create(path.Join(s.dir, latestName(generation)))
	if err != nil {
		return err
	}
	return f.Close()
}

// unmark takes away the name that says that a file must be there, if there is one: before the file goes. Both reach the
// disk in this order. With beginning held.
func (s *files) unmark(generation uint64) error {
	i := slices.Index(s.marked, generation)
	if i < 0 {
		return nil
	}
	if err := s.fs.Remove(path.Join(s.dir, latestName(generation))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.marked = slices.Delete(s.marked, i, i+1)
	return nil
}

// inUse is the generation of the last file that has a frame; 0: none has.
func (s *files) inUse() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) == 0 {
		return 0
	}
	return s.live[len(s.live)-1].generation
}

// prepare begins the next file in the background, so that to go on in it costs a commit nothing: neither the room, nor
// the commit of the file system that makes a name durable. To a recovery it is a file that was begun and did not come to
// its first frame.
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

// beginNext names the next file, unless there is none to be had, or it is too late: then begin makes do with a short one.
func (s *files) beginNext(noSpare error) {
	if noSpare != nil {
		if !errors.Is(noSpare, ErrClosed) {
			s.log.Warn("no spare journal file could be made", "dir", s.dir, "cause", noSpare)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.prepareFailed = true // trying again at every commit would help nobody
		return
	}
	s.beginning.Lock()
	defer s.beginning.Unlock()
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
	next, err := s.name(spare, s.fileBytes, s.takeGeneration())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.nextErr = next, err
}

// giveNextBack makes the file that was begun ahead a spare again.
func (s *files) giveNextBack() error {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	next, err := s.takeNext()
	if next == nil {
		return err
	}
	// Nothing was written to it: closing it has nothing to lose.
	_ = next.f.Close()
	spare := spareName(next.generation)
	if err = s.unmark(next.generation); err == nil {
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

// makeSpare makes a file of zeros whose length and blocks are durable, and removes what it made if it fails or the
// journal ends meanwhile.
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

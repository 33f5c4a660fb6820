package journal

import (
	"errors"
	"fmt"
	"path"
	"syscall"
)

// What is kept back for vital entries: files of 128 KiB, or less where the journal's files are small, more than a
// thousand commits in all. The last ones are for Open, which needs a new file each time.
const (
	reserveFiles    = 8
	reserveForOpen  = 3
	maxReserveBytes = 128 << 10 // of one
)

// fullError classifies an error of the file system that has changed nothing that counts: no room is ErrFull.
func fullError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Full returns why only vital entries are taken, matching ErrFull, or nil.
func (j *Journal) Full() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// shed makes the journal full: of what was taken and what is queued it refuses all that is not vital, and returns the
// vital entries of what was taken. They move up to the LSNs of those that go, which nothing in a file has.
func (j *Journal) shed(taken []pending, full error) []pending {
	j.mu.Lock()
	j.full = full
	next := taken[0].lsn
	var refused []pending
	sift := func(entries []pending) []pending {
		kept := entries[:0]
		for _, p := range entries {
			if !p.Vital {
				refused = append(refused, p)
				j.queuedBytes -= int64(p.bytes)
				continue
			}
			p.lsn = next
			next++
			kept = append(kept, p)
		}
		clear(entries[len(kept):])
		return kept
	}
	taken, j.queue = sift(taken), sift(j.queue)
	j.next = next
	j.room.Broadcast()
	j.mu.Unlock()

	j.o.Logger.Warn("no room on the disk: only what is vital is journaled until there is", "dir", j.dir, "refused", len(refused), "cause", full)
	for i := range refused {
		if done := refused[i].Done; done != nil {
			done(refused[i].lsn, full)
		}
	}
	if j.o.OnFull != nil {
		j.o.OnFull(full)
	}
	return taken
}

// Resume takes all entries again if there is room for a file and for what is kept back, else it returns an error that
// matches ErrFull. It does I/O and may be called at any time; one call at a time.
func (j *Journal) Resume() error {
	if err := j.Err(); err != nil {
		return err
	}
	if j.Full() == nil {
		return nil
	}
	if err := j.files.checkRoom(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = nil
	j.files.setFull(false)
	j.o.Logger.Info("there is room on the disk again", "dir", j.dir)
	return nil
}

// GiveRoom removes the files that are kept for reuse, but for what is kept back for vital entries, so that others may
// have their room.
func (j *Journal) GiveRoom() error { return j.files.dropSpares() }

func (s *files) reserveBytes() int64 {
	return max(minFileBytes, min(maxReserveBytes, s.fileBytes/reserveFiles/frameAlign*frameAlign))
}

// keepReserves makes the files that are kept back, as far as they are not there. The error is of the first that could
// not be made. One call at a time.
func (s *files) keepReserves() error {
	for {
		s.mu.Lock()
		enough := len(s.reserves) >= reserveFiles
		name := reserveName(s.nextGeneration)
		if !enough {
			s.nextGeneration++
		}
		s.mu.Unlock()
		if enough {
			return nil
		}
		if err := s.makeSpare(name, s.reserveBytes()); err != nil {
			return fullError(err)
		}
		s.mu.Lock()
		s.reserves = append(s.reserves, name)
		s.mu.Unlock()
	}
}

// takeReserve gives out a file that is kept back, for good; "" if there are no more than leave.
func (s *files) takeReserve(leave int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.reserves)
	if n <= leave {
		return ""
	}
	name := s.reserves[n-1]
	s.reserves = s.reserves[:n-1]
	return name
}

// checkRoom keeps back what was used of it and sees whether a file could be begun.
func (s *files) checkRoom() error {
	if err := s.keepReserves(); err != nil {
		return err
	}
	s.mu.Lock()
	spares := len(s.spares)
	name := spareName(s.nextGeneration)
	s.nextGeneration++
	s.mu.Unlock()
	if spares > 0 {
		return nil
	}
	if err := s.makeSpare(name, min(quickBytes, s.fileBytes)); err != nil {
		return fullError(err)
	}
	return s.fs.Remove(path.Join(s.dir, name))
}

func (s *files) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *files) dropSpares() error {
	s.mu.Lock()
	spares := s.spares
	s.spares = nil
	s.mu.Unlock()
	var failed error
	for _, name := range spares {
		failed = errors.Join(failed, s.fs.Remove(path.Join(s.dir, name)))
	}
	return failed
}

// makeFile makes the file that begin needs now, there being no spare. Where the disk is full, vital entries get what
// little is left, and at the end a file that is kept back.
func (s *files) makeFile(generation uint64, frameBytes int64, vital bool) (name string, sizeBytes int64, err error) {
	name = spareName(generation)
	for sizeBytes = min(quickBytes, s.fileBytes); ; sizeBytes /= 4 {
		err = fullError(s.makeSpare(name, sizeBytes))
		if err == nil || !errors.Is(err, ErrFull) {
			return name, sizeBytes, err
		}
		if !vital || sizeBytes/4 < max(leastBytes, frameBytes+frameAlign) || sizeBytes/4%frameAlign != 0 {
			break
		}
	}
	if !vital {
		return "", 0, err
	}
	leave := reserveForOpen
	if s.opening {
		leave = 0
	}
	if reserve := s.takeReserve(leave); reserve != "" {
		return reserve, s.reserveBytes(), nil
	}
	return "", 0, err
}

// leastBytes is the smallest file that is made where a disk is full.
const leastBytes = 16 << 10

package journal

import (
	"errors"
	"fmt"
	"path"
	"syscall"
)

// What is kept back for when the disk is full: files of 128 KiB, or of an eighth of the journal's files. Vital entries get
// the first ones, more than a thousand commits in all; then come those that make room, and the last ones are for Open,
// which needs a new file each time.
const (
	reserveFiles      = 10
	reserveForFreeing = 2
	reserveForOpen    = 3
	maxReserveBytes   = 128 << 10 // of one
)

// fullError classifies an error of the file system that has changed nothing that counts: no room is ErrFull.
func fullError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Full returns why not all entries are taken, matching ErrFull, or nil.
func (j *Journal) Full() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// Refusals counts how often the journal has become full, and so has refused entries that it had taken.
func (j *Journal) Refusals() uint64 { return j.refusals.Load() }

// lowest is the lowest rank that is taken. With mu held.
func (j *Journal) lowest() Rank {
	switch {
	case j.full == nil:
		return Ordinary
	case j.spent:
		return Freeing
	}
	return Vital
}

// shed makes the journal full, or fuller: of what was taken and what is queued it refuses the lowest rank that was still
// taken, and returns the other entries of what was taken. They move up to the LSNs of those that go, which nothing in a
// file has. The highest rank goes on to be tried: each time there may be a little room again.
func (j *Journal) shed(taken []pending, full error) []pending {
	j.mu.Lock()
	refusing := j.lowest()
	if refusing == Ordinary {
		j.full = full
		j.refusals.Add(1)
	} else if !j.spent {
		j.full, j.spent = fmt.Errorf("%w; what was kept back for positions is used up", full), true
	}
	full = j.full
	next := taken[0].lsn
	var refused []pending
	sift := func(entries []pending) []pending {
		kept := entries[:0]
		for _, p := range entries {
			if p.Rank <= refusing {
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

	switch refusing {
	case Ordinary:
		j.o.Logger.Warn("no room on the disk: only what is vital is journaled until there is", "dir", j.dir, "refused", len(refused), "cause", full)
	case Vital:
		j.o.Logger.Warn("no room on the disk: only what makes room is journaled until there is", "dir", j.dir, "refused", len(refused), "cause", full)
	}
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
// matches ErrFull; vital entries may be taken again even then. It does I/O and may be called at any time; one call at a
// time.
func (j *Journal) Resume() error {
	if err := j.Err(); err != nil {
		return err
	}
	if j.Full() == nil {
		return nil
	}
	err := j.files.checkRoom()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.spent = j.spent && !j.files.keepsFor(Vital)
		return err
	}
	j.full, j.spent = nil, false
	j.files.setFull(false)
	j.o.Logger.Info("there is room on the disk again", "dir", j.dir)
	return nil
}

// GiveRoom removes the files that are kept for reuse, but for what is kept back, so that others may have their room.
func (j *Journal) GiveRoom() error { return j.files.dropSpares() }

func (s *files) reserveBytes() int64 {
	return max(minFileBytes, min(maxReserveBytes, s.fileBytes/8/frameAlign*frameAlign))
}

// keepReserves makes the files that are kept back, as far as they are not there. The error is of the first that could
// not be made. One call at a time.
func (s *files) keepReserves() error {
	for {
		s.mu.Lock()
		enough := len(s.reserves) >= reserveFiles
		s.mu.Unlock()
		if enough {
			return nil
		}
		name := reserveName(s.takeGeneration())
		if err := s.makeSpare(name, s.reserveBytes()); err != nil {
			return fullError(err)
		}
		s.mu.Lock()
		s.reserves = append(s.reserves, name)
		s.mu.Unlock()
	}
}

// leave is how many reserves entries of a rank leave to others.
func (s *files) leave(rank Rank) int {
	switch {
	case s.opening:
		return 0
	case rank == Freeing:
		return reserveForOpen
	}
	return reserveForOpen + reserveForFreeing
}

// keepsFor says whether something is kept back for entries of a rank.
func (s *files) keepsFor(rank Rank) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reserves) > s.leave(rank)
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
	ready := len(s.spares) > 0 || s.next != nil
	s.mu.Unlock()
	if ready {
		return nil
	}
	name := spareName(s.takeGeneration())
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
	if err := s.giveNextBack(); err != nil {
		return err
	}
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

// makeFile makes the file that begin needs now, there being no spare. Where the disk is full, entries that are not
// ordinary get what little is left, and at the end a file that is kept back.
func (s *files) makeFile(generation uint64, frameBytes int64, rank Rank) (name string, sizeBytes int64, err error) {
	name = spareName(generation)
	for sizeBytes = min(quickBytes, s.fileBytes); ; sizeBytes /= 4 {
		err = fullError(s.makeSpare(name, sizeBytes))
		if err == nil || !errors.Is(err, ErrFull) {
			return name, sizeBytes, err
		}
		if rank == Ordinary || sizeBytes/4 < max(leastBytes, frameBytes+frameAlign) || sizeBytes/4%frameAlign != 0 {
			break
		}
	}
	if rank == Ordinary {
		return "", 0, err
	}
	if reserve := s.takeReserve(s.leave(rank)); reserve != "" {
		return reserve, s.reserveBytes(), nil
	}
	return "", 0, err
}

// leastBytes is the smallest file that is made where a disk is full.
const leastBytes = 16 << 10

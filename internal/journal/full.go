package journal

import (
	"errors"
	"fmt"
	"path"

	"tidings.dev/internal/vfs"
)

// The reserve is a number of files for use when the disk is full: reserveFiles files, each 128 KiB long or an eighth of
// the length of the journal's files if that is less. Entries of PriorityVital may use all of them except the last
// reserveForFreeing + reserveForOpen files, which is enough for more than a thousand commits. Entries of
// PriorityFreeing may use all except the last reserveForOpen files. These are for Open, which needs one new file each
// time.
const (
	reserveFiles      = 10
	reserveForFreeing = 2
	reserveForOpen    = 3
	maxReserveBytes   = 128 << 10 // largest length of one file
)

// fullError returns an error that matches ErrFull if err means that the disk has no space, or that there is no free file
// descriptor, and err otherwise. It may only be used for errors of calls that have changed nothing of importance.
func fullError(err error) error {
	if vfs.IsFull(err) || vfs.IsNoDescriptors(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Full returns nil if the journal accepts all entries, and otherwise the reason why it does not, which matches ErrFull.
// It does not block on I/O.
func (j *Journal) Full() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// FullCount returns how many times the journal has become full. Each time, it has refused entries that Append had
// accepted.
func (j *Journal) FullCount() uint64 { return j.fullCount.Load() }

// lowestAccepted returns the lowest priority that the journal accepts at present. j.mu must be held.
func (j *Journal) lowestAccepted() Priority {
	switch {
	case j.full == nil:
		return PriorityNormal
	case j.reserveSpent:
		return PriorityFreeing
	}
	return PriorityVital
}

// refuseLowest makes the journal refuse the lowest priority that it still accepts. It refuses the entries of that
// priority in taken and in the queue, and returns the other entries of taken. The remaining entries get the LSNs of the
// refused ones, which are in no file. Entries of the highest priority are refused too, but that priority stays
// accepted, since there may be a little space again later. Only the goroutine that commits calls it.
func (j *Journal) refuseLowest(taken []pending, full error) []pending {
	j.mu.Lock()
	refusing := j.lowestAccepted()
	if refusing == PriorityNormal {
		j.full = full
		j.fullCount.Add(1)
	} else if !j.reserveSpent {
		j.full, j.reserveSpent = fmt.Errorf("%w; what was kept back for positions is used up", full), true
	}
	full = j.full
	next := taken[0].lsn
	var refused []pending
	sift := func(entries []pending) []pending {
		kept := entries[:0]
		for _, p := range entries {
			if p.Priority <= refusing {
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
	case PriorityNormal:
		j.o.Logger.Warn("no room on the disk: only what is vital is journaled until there is", "dir", j.dir, "refused", len(refused), "cause", full)
	case PriorityVital:
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

// Resume makes the journal accept all entries again if there is space for a file and for the whole reserve. Otherwise
// it returns an error that matches ErrFull; entries of PriorityVital may be accepted again even then. On a fenced
// journal the error matches ErrFenced. Resume does I/O, during which commits go on. Only one goroutine at a time may
// call it.
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
		j.reserveSpent = j.reserveSpent && !j.files.hasReserveFor(PriorityVital)
		return err
	}
	j.full, j.reserveSpent = nil, false
	j.files.setFull(false)
	j.o.Logger.Info("there is room on the disk again", "dir", j.dir)
	return nil
}

// RemoveSpares removes the files that are kept for reuse, so that their space can be used otherwise. It does not remove
// the reserve. It does I/O. After an error some of the files may remain.
func (j *Journal) RemoveSpares() error { return j.files.dropSpares() }

// reserveBytes returns the length in bytes of one file of the reserve.
func (s *files) reserveBytes() int64 {
	return max(minFileBytes, min(maxReserveBytes, s.fileBytes/8/frameAlign*frameAlign))
}

// fillReserves makes the files that are missing from the reserve. It stops at the first file that cannot be made and
// returns the error. It does I/O. Only one goroutine at a time may call it.
func (s *files) fillReserves() error {
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

// reservesKept returns how many files of the reserve entries of a priority must not use. s.mu or s.naming must be held.
func (s *files) reservesKept(priority Priority) int {
	switch {
	case s.opening:
		return 0
	case priority == PriorityFreeing:
		return reserveForOpen
	}
	return reserveForOpen + reserveForFreeing
}

// hasReserveFor reports whether the reserve has a file that entries of a priority may use.
func (s *files) hasReserveFor(priority Priority) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reserves) > s.reservesKept(priority)
}

// takeReserve removes a file from the reserve and returns its name. It returns "" if the reserve has no more than leave
// files.
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

// checkRoom fills the reserve and checks that the disk has space for another journal file. The error matches ErrFull if
// it has not.
func (s *files) checkRoom() error {
	if err := s.fillReserves(); err != nil {
		return err
	}
	s.mu.Lock()
	ready := len(s.spares) > 0 || s.next != nil
	s.mu.Unlock()
	if ready {
		return nil
	}
	name := spareName(s.takeGeneration())
	if err := s.makeSpare(name, min(urgentFileBytes, s.fileBytes)); err != nil {
		return fullError(err)
	}
	return s.fs.Remove(path.Join(s.dir, name))
}

// setFull records whether the journal is full. While it is, no file is prepared.
func (s *files) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// dropSpares removes the spares and the prepared file.
func (s *files) dropSpares() error {
	if err := s.returnNext(); err != nil {
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

// makeFile makes the file that beginFile needs when there is no spare. On a full disk and with a priority above
// PriorityNormal it tries shorter and shorter files, of at least minReducedBytes and long enough for the frame, and
// then takes a file of the reserve. It returns the name of the file, without the directory, and its length.
func (s *files) makeFile(generation uint64, frameBytes int64, priority Priority) (name string, sizeBytes int64, err error) {
	name = spareName(generation)
	for sizeBytes = min(urgentFileBytes, s.fileBytes); ; sizeBytes /= 4 {
		err = fullError(s.makeSpare(name, sizeBytes))
		if err == nil || !errors.Is(err, ErrFull) {
			return name, sizeBytes, err
		}
		if priority == PriorityNormal || sizeBytes/4 < max(minReducedBytes, frameBytes+frameAlign) || sizeBytes/4%frameAlign != 0 {
			break
		}
	}
	if priority == PriorityNormal {
		return "", 0, err
	}
	if reserve := s.takeReserve(s.reservesKept(priority)); reserve != "" {
		return reserve, s.reserveBytes(), nil
	}
	return "", 0, err
}

// minReducedBytes is the length in bytes of the shortest file that makeFile makes on a full disk.
const minReducedBytes = 16 << 10

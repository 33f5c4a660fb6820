package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"tidings.dev/internal/vfs"
)

// The names in a journal's directory. Generations are never used twice, so that nothing a recycled file held before
// can be taken for what it holds now.
//
//	0000000000000007.journal             a file in use, of generation 7
//	0000000000000005.spare               a file to be reused; its number is only a name
//	0000000000000004.reserve             one of the files kept back for when the disk is full
//	0000000000000007.latest              an empty file: file 7 must be there; the last files have one, which nothing else would miss
//	0000000000000006-000000004200.torn   the torn tail that recovery found in file 6 at byte 0x4200
const (
	journalSuffix = ".journal"
	spareSuffix   = ".spare"
	latestSuffix  = ".latest"
	tornSuffix    = ".torn"
	reserveSuffix = ".reserve"
)

const (
	maxSpareBytes = 256 << 20 // more are removed
	quickBytes    = 1 << 20   // the length of a file that must be made at once: zeros for a whole one would be waited for
	spareStep     = 1 << 20   // how much of a new spare is written between syncs, so that commits beside it wait little
	marksPerFile  = 256       // how finely sizeBytes knows where an LSN stands
)

func journalName(generation uint64) string { return fmt.Sprintf("%016x%s", generation, journalSuffix) }
func spareName(generation uint64) string   { return fmt.Sprintf("%016x%s", generation, spareSuffix) }
func reserveName(generation uint64) string {
	return fmt.Sprintf("%016x%s", generation, reserveSuffix)
}
func latestName(generation uint64) string { return fmt.Sprintf("%016x%s", generation, latestSuffix) }
func tornName(generation uint64, positionBytes int64) string {
	return fmt.Sprintf("%016x-%012x%s", generation, positionBytes, tornSuffix)
}

// generationOf reads the number that a name begins with; ok is false for names that are not the journal's.
func generationOf(name string) (generation uint64, ok bool) {
	if len(name) < 16 {
		return 0, false
	}
	generation, err := strconv.ParseUint(name[:16], 16, 64)
	return generation, err == nil
}

// files knows which files a journal has, and begins and recycles them.
type files struct {
	fs        vfs.FS
	dir       string
	fileBytes int64
	log       *slog.Logger

	mu             sync.Mutex
	nextGeneration uint64
	live           []liveFile // in order; the last may be the one being written
	spares         []string   // each is fileBytes long
	preparing      bool
	prepareFailed  bool      // since the current file was begun: no spare could be made
	next           *openFile // begun before it is needed; nil: there is none
	nextErr        error     // why it could not be begun, for whoever needs it
	ended          bool
	full           bool     // not all entries are written: nothing is made ahead of its use
	reserves       []string // the files that are kept back
	opening        bool     // Open begins its file; nobody else has the journal. Changed with beginning held, too
	background     sync.WaitGroup

	beginning sync.Mutex // held by whoever gives files their names, before mu
	marked    []uint64   // the files that must be there, by their marks; guarded by beginning

	// Sizes: all bytes of frames since Open and of those it replayed, where they end by LSN, and how many are released.
	writtenBytes  int64
	releasedBytes int64
	marks         []mark
}

// liveFile is a file that may be needed by a recovery.
type liveFile struct {
	generation uint64
	first      LSN // of its first frame
	sizeBytes  int64
	durable    bool // its first frame is: the files before it may go
	old        bool // from before Open: there may be entries in it that were never durable and whose LSNs are given again
}

// mark says that the entries up to last end at endBytes of all that was written.
type mark struct {
	last     LSN
	endBytes int64
}

// written notes a frame that is in a file, durable or not.
func (s *files) written(file *openFile, first, last LSN, sizeBytes int64, begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begins {
		s.live = append(s.live, liveFile{generation: file.generation, first: first, sizeBytes: file.sizeBytes})
	}
	s.writtenBytes += sizeBytes
	if n := len(s.marks); n > 0 && s.marks[n-1].endBytes+s.fileBytes/marksPerFile > s.writtenBytes {
		s.marks[n-1] = mark{last: last, endBytes: s.writtenBytes}
		return
	}
	s.marks = append(s.marks, mark{last: last, endBytes: s.writtenBytes})
}

// synced notes that all that is written is durable.
func (s *files) synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.live); n > 0 {
		s.live[n-1].durable = true
	}
}

func (s *files) sizeBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writtenBytes - s.releasedBytes
}

// release recycles the files that hold nothing above upTo.
func (s *files) release(upTo LSN) error {
	s.mu.Lock()
	done := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].last > upTo })
	if done > 0 {
		s.releasedBytes = s.marks[done-1].endBytes
		s.marks = append(s.marks[:0], s.marks[done:]...)
	}
	var old []liveFile
	// A file's entries end where those of the next begin. The last that begins with a durable frame is never released: a
	// recovery finds in it that the journal was here.
	for len(s.live) > 1 && s.live[1].durable && s.live[1].first <= upTo+1 {
		old = append(old, s.live[0])
		s.live = s.live[1:]
	}
	s.mu.Unlock()

	if len(old) == 0 {
		return nil
	}
	s.beginning.Lock()
	defer s.beginning.Unlock()
	var failed error
	for _, f := range old {
		failed = errors.Join(failed, s.recycle(f))
	}
	return failed
}

// recycle turns a file that is not needed into a spare, or removes it if it is of another length, there are enough, or
// what it holds could be taken for something of its next life. With beginning held.
// The change of name need not be durable: begin makes it so before the file is written, and until then it is an old
// journal file again, of which nothing is needed.
func (s *files) recycle(f liveFile) error {
	if err := s.unmark(f.generation); err != nil {
		return err
	}
	name := path.Join(s.dir, journalName(f.generation))
	s.mu.Lock()
	enough := int64(len(s.spares)+1)*s.fileBytes > max(maxSpareBytes, 2*s.fileBytes)
	s.mu.Unlock()
	if enough || f.sizeBytes != s.fileBytes || f.old {
		return s.fs.Remove(name)
	}
	if err := s.fs.Rename(name, path.Join(s.dir, spareName(f.generation))); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares = append(s.spares, spareName(f.generation))
	return nil
}

// opened ends the time of opening. With beginning held.
func (s *files) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = false
}

func (s *files) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// close waits for what runs in the background and gives back what was begun ahead, if the journal is not fenced.
func (s *files) close(fenced bool) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.background.Wait()
	if !fenced {
		return s.giveNextBack()
	}
	if s.next != nil {
		// Nothing was written to it: closing it has nothing to lose.
		_ = s.next.f.Close()
		s.next = nil
	}
	return nil
}

// inventory is what a directory holds of a journal.
type inventory struct {
	journals       []found // in order of generation
	spares         []found
	reserves       []found
	torn           []string
	marked         []uint64 // the generations of files that must be there, in order
	nextGeneration uint64
}

// found is a file of a directory.
type found struct {
	generation uint64
	name       string // full
	sizeBytes  int64
}

// takeInventory lists the directory; names that are not the journal's are left alone.
func takeInventory(fs vfs.FS, dir string) (inventory, error) {
	infos, err := fs.List(dir)
	if err != nil {
		return inventory{}, err
	}
	inv := inventory{nextGeneration: 1}
	for _, i := range infos {
		generation, ok := generationOf(i.Name)
		if !ok || i.Dir {
			continue
		}
		switch i.Name {
		case journalName(generation):
			inv.journals = append(inv.journals, found{generation, path.Join(dir, i.Name), i.SizeBytes})
		case spareName(generation):
			inv.spares = append(inv.spares, found{generation, path.Join(dir, i.Name), i.SizeBytes})
		case reserveName(generation):
			inv.reserves = append(inv.reserves, found{generation, path.Join(dir, i.Name), i.SizeBytes})
		case latestName(generation):
			inv.marked = append(inv.marked, generation)
		default:
			if !strings.HasSuffix(i.Name, tornSuffix) {
				continue
			}
			inv.torn = append(inv.torn, i.Name)
		}
		inv.nextGeneration = max(inv.nextGeneration, generation+1)
	}
	return inv, nil // List is in order of name, so these are in order of generation
}

// missing returns the first of the files that must be there and are not; 0: none.
func (inv *inventory) missing() uint64 {
	for _, m := range inv.marked {
		if !slices.ContainsFunc(inv.journals, func(f found) bool { return f.generation == m }) {
			return m
		}
	}
	return 0
}

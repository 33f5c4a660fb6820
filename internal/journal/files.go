package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
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
//	0000000000000007.latest              an empty file: 7 is the last file in use, so that it can't go missing unseen
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

// files knows which files a journal has, and begins, recycles and prepares them.
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
	spareFailed    bool // since the current file was begun
	ended          bool
	full           bool     // not all entries are written: nothing is made ahead of its use
	reserves       []string // the files that are kept back
	opening        bool     // Open begins its file; nobody else has the journal
	latest         string   // the name that says which file is the last; "": there is none yet. The writer's alone
	background     sync.WaitGroup

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

// begin returns a new file, with zeros or with what it held in an earlier life, whose name and length are durable. An
// error that matches ErrFull has changed nothing; above the ordinary rank, the file comes from what is kept back, if need
// be.
func (s *files) begin(frameBytes int64, rank Rank) (*openFile, error) {
	s.mu.Lock()
	generation := s.nextGeneration
	s.nextGeneration++
	s.spareFailed = false
	spare := ""
	if n := len(s.spares); n > 0 {
		spare, s.spares = s.spares[n-1], s.spares[:n-1]
	}
	s.mu.Unlock()

	size := s.fileBytes
	if spare == "" {
		var err error
		if spare, size, err = s.makeFile(generation, frameBytes, rank); err != nil {
			if errors.Is(err, ErrFull) {
				s.setFull(true)
			}
			return nil, err
		}
	}
	f, err := s.fs.Open(path.Join(s.dir, spare))
	if err != nil {
		return nil, err
	}
	// A spare may come from a process that was killed between giving it its length and syncing that.
	if err = f.Sync(); err == nil {
		err = s.fs.Rename(path.Join(s.dir, spare), path.Join(s.dir, journalName(generation)))
	}
	if err == nil {
		err = s.markLatest(generation)
	}
	if err == nil {
		// Before the first frame of the new generation: a frame must never come to stand under an older name.
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openFile{f: f, generation: generation, sizeBytes: size}, nil
}

// markLatest changes the name that says which file is the last. Its directory is synced by the caller, with the file's.
func (s *files) markLatest(generation uint64) error {
	name := latestName(generation)
	if s.latest != "" {
		if err := s.fs.Rename(path.Join(s.dir, s.latest), path.Join(s.dir, name)); err != nil {
			return err
		}
		s.latest = name
		return nil
	}
	f, err := s.fs.Create(path.Join(s.dir, name))
	if err != nil {
		return err
	}
	s.latest = name
	return f.Close()
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

	var failed error
	for _, f := range old {
		failed = errors.Join(failed, s.recycle(f))
	}
	return failed
}

// recycle turns a file that is not needed into a spare, or removes it if it is of another length, there are enough, or
// what it holds could be taken for something of its next life.
// The change of name need not be durable: begin makes it so before the file is written, and until then it is an old
// journal file again, of which nothing is needed.
func (s *files) recycle(f liveFile) error {
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

// prepareSpare makes a spare in the background if there is none, so that beginning a file costs no more than a change
// of name.
func (s *files) prepareSpare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing || s.spareFailed || s.ended || s.full || len(s.spares) > 0 {
		return
	}
	s.preparing = true
	name := spareName(s.nextGeneration)
	s.nextGeneration++
	s.background.Go(func() {
		err := s.makeSpare(name, s.fileBytes)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.preparing = false
		switch {
		case err == nil:
			s.spares = append(s.spares, name)
		case !errors.Is(err, ErrClosed):
			// No harm yet: begin makes a short file, and fails if it must. Trying again at every commit would help
			// nobody.
			s.spareFailed = true
			s.log.Warn("no spare journal file could be made", "dir", s.dir, "cause", err)
		}
	})
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

func (s *files) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// close waits for what runs in the background.
func (s *files) close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.background.Wait()
}

// inventory is what a directory holds of a journal.
type inventory struct {
	journals       []found // in order of generation
	spares         []found
	reserves       []found
	torn           []string
	latest         uint64 // the generation that was marked as the last; 0: none
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
			inv.latest = generation
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

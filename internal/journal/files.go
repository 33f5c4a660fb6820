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

// These suffixes belong to the names of the files in a journal's directory. No generation is used for two files, so
// that frames which a recycled file contained before cannot be mistaken for its present frames.
//
//	0000000000000007.journal             a file in use, of generation 7
//	0000000000000005.spare               a file to be reused; its number is only a name
//	0000000000000004.reserve             one of the files reserved for when the disk is full
//	0000000000000007.latest              an empty file, the marker of file 7: file 7 must exist. Earlier files need none,
//	                                     since a later file proves that they existed
//	0000000000000006-000000004200.torn   the torn tail that recovery found in file 6 at byte 0x4200
const (
	journalSuffix = ".journal"
	spareSuffix   = ".spare"
	markerSuffix  = ".latest"
	tornSuffix    = ".torn"
	reserveSuffix = ".reserve"
)

const (
	maxSpareBytes = 256 << 20 // largest size of all spares together; a file that would exceed it is removed
	// urgentFileBytes is the length of a file that a commit waits for. To write the zeros of a file of usual length
	// would take too long.
	urgentFileBytes = 1 << 20
	// spareStep is the number of bytes of a new spare that are written between syncs, so that a commit meanwhile waits
	// only for a little data.
	spareStep      = 1 << 20
	samplesPerFile = 256 // number of samples that files.sizeBytes keeps for each file
)

func journalName(generation uint64) string { return fmt.Sprintf("%016x%s", generation, journalSuffix) }
func spareName(generation uint64) string   { return fmt.Sprintf("%016x%s", generation, spareSuffix) }
func reserveName(generation uint64) string {
	return fmt.Sprintf("%016x%s", generation, reserveSuffix)
}
func markerName(generation uint64) string { return fmt.Sprintf("%016x%s", generation, markerSuffix) }
func tornName(generation uint64, positionBytes int64) string {
	return fmt.Sprintf("%016x-%012x%s", generation, positionBytes, tornSuffix)
}

// generationOf returns the generation at the beginning of a file's name. ok is false if the name has none.
func generationOf(name string) (generation uint64, ok bool) {
	if len(name) < 16 {
		return 0, false
	}
	generation, err := strconv.ParseUint(name[:16], 16, 64)
	return generation, err == nil
}

// files manages the files of a journal: it begins, recycles and removes them. Its methods are safe for concurrent use.
type files struct {
	fs        vfs.FS
	dir       string
	fileBytes int64 // length of a file, unless a frame needs more or the disk is full
	log       *slog.Logger

	// naming is held while a file is renamed, and while a generation for that is taken. It is taken before mu. I/O is
	// done while it is held. It guards markers.
	naming  sync.Mutex
	markers []uint64 // generations of the files that have a marker

	mu             sync.Mutex // guards the fields below, up to samples; never held during I/O
	nextGeneration uint64     // higher than the generation of every file that exists or existed
	// live are the journal files that a recovery may need, in the order of generation. The last one may be the current
	// file.
	live          []liveFile
	spares        []string  // names of the spares, each fileBytes long
	reserves      []string  // names of the files in the reserve, each reserveBytes() long
	next          *openFile // the prepared file; nil if there is none
	nextErr       error     // why the next file could not be prepared; beginFile returns it
	preparing     bool      // a goroutine is making next
	prepareFailed bool      // no spare could be made since the current file was begun
	full          bool      // the journal does not accept all entries, so that no file is prepared
	ended         bool      // close was called
	// Open is beginning its first file and no other goroutine has the journal; written while naming is held too
	opening bool

	// writtenBytes is the size of the frames that were written since Open or replayed by it. releasedBytes is the size
	// of the frames among them that were released. Invariant: 0 <= releasedBytes <= writtenBytes.
	writtenBytes  int64
	releasedBytes int64
	samples       []sizeSample // ascending in both fields; samples of released entries are removed

	background sync.WaitGroup // goroutines of prepare
}

// liveFile is a journal file that a recovery may need.
type liveFile struct {
	generation uint64
	first      LSN // LSN of the file's first frame
	sizeBytes  int64
	durable    bool // the first frame is durable, so that files before this one may be released
	// old means that the file is from before Open. It may have entries that were never durable and whose LSNs are given
	// to other entries.
	old bool
}

// sizeSample records that the entries up to last end at endBytes, counted in writtenBytes.
type sizeSample struct {
	last     LSN
	endBytes int64
}

// written records that a frame with the entries [first, last] was written to file, whether or not it is durable. begins
// is true if the frame is the file's first.
func (s *files) written(file *openFile, first, last LSN, sizeBytes int64, begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begins {
		s.live = append(s.live, liveFile{generation: file.generation, first: first, sizeBytes: file.sizeBytes})
	}
	s.writtenBytes += sizeBytes
	if n := len(s.samples); n > 0 && s.samples[n-1].endBytes+s.fileBytes/samplesPerFile > s.writtenBytes {
		s.samples[n-1] = sizeSample{last: last, endBytes: s.writtenBytes}
		return
	}
	s.samples = append(s.samples, sizeSample{last: last, endBytes: s.writtenBytes})
}

// synced records that all frames that were written are durable.
func (s *files) synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.live); n > 0 {
		s.live[n-1].durable = true
	}
}

// sizeBytes returns the size in bytes of the frames that are not released.
func (s *files) sizeBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writtenBytes - s.releasedBytes
}

// release recycles the files that have no entry above upTo, which must be durable. It does I/O.
func (s *files) release(upTo LSN) error {
	s.mu.Lock()
	done := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].last > upTo })
	if done > 0 {
		s.releasedBytes = s.samples[done-1].endBytes
		s.samples = append(s.samples[:0], s.samples[done:]...)
	}
	var old []liveFile
	// The entries of a file end where those of the next file begin. The last file whose first frame is durable is never
	// released, because it tells a recovery which LSN comes next.
	for len(s.live) > 1 && s.live[1].durable && s.live[1].first <= upTo+1 {
		old = append(old, s.live[0])
		s.live = s.live[1:]
	}
	s.mu.Unlock()

	if len(old) == 0 {
		return nil
	}
	s.naming.Lock()
	defer s.naming.Unlock()
	var failed error
	for _, f := range old {
		failed = errors.Join(failed, s.recycle(f))
	}
	return failed
}

// recycle makes a spare of a file that no recovery needs. It removes the file instead if the file does not have the
// usual length, if there are enough spares, or if the file is from before Open, so that its frames could be mistaken
// for later ones. s.naming must be held.
//
// The new name need not be durable. activate makes it durable before the file is written to; after a crash before that,
// the file is an old journal file that no recovery needs.
func (s *files) recycle(f liveFile) error {
	if err := s.removeMarker(f.generation); err != nil {
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

// opened records that Open has begun its first file. s.naming must be held.
func (s *files) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = false
}

// closed reports whether close was called.
func (s *files) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// close waits until the background work has ended. Then, if there is a prepared file, it renames that file to a spare,
// so that the journal can use it after the next Open. If fenced is true, it only closes that file.
func (s *files) close(fenced bool) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.background.Wait()
	if !fenced {
		return s.returnNext()
	}
	if s.next != nil {
		// Nothing was written to the file, so that an error of Close can be ignored.
		_ = s.next.f.Close()
		s.next = nil
	}
	return nil
}

// inventory lists the files in a journal's directory.
type inventory struct {
	journals       []dirFile // in the order of generation
	spares         []dirFile
	reserves       []dirFile
	torn           []string // names of the files with torn tails, without the directory
	markers        []uint64 // generations of the files that have a marker, in ascending order
	nextGeneration uint64   // higher than the generation in every name
}

// dirFile is a file in a journal's directory. generation is taken from its name; its frames may have another one.
type dirFile struct {
	generation uint64
	name       string // full name, with the directory
	sizeBytes  int64
}

// listFiles lists the directory of a journal. It ignores files whose names are not the journal's.
func listFiles(fs vfs.FS, dir string) (inventory, error) {
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
			inv.journals = append(inv.journals, dirFile{generation, path.Join(dir, i.Name), i.SizeBytes})
		case spareName(generation):
			inv.spares = append(inv.spares, dirFile{generation, path.Join(dir, i.Name), i.SizeBytes})
		case reserveName(generation):
			inv.reserves = append(inv.reserves, dirFile{generation, path.Join(dir, i.Name), i.SizeBytes})
		case markerName(generation):
			inv.markers = append(inv.markers, generation)
		default:
			if !strings.HasSuffix(i.Name, tornSuffix) {
				continue
			}
			inv.torn = append(inv.torn, i.Name)
		}
		inv.nextGeneration = max(inv.nextGeneration, generation+1)
	}
	return inv, nil // List returns names in order, so that the lists are in the order of generation
}

// missing returns the generation of the first file that has a marker and does not exist, or 0 if there is none.
func (inv *inventory) missing() uint64 {
	for _, m := range inv.markers {
		if !slices.ContainsFunc(inv.journals, func(f dirFile) bool { return f.generation == m }) {
			return m
		}
	}
	return 0
}

package journal

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"tidings.dev/internal/vfs"
)

// The functions in this file read journals that are not open. Except for Create they change no files. They are for
// tools that report what is wrong with a journal and save what can be read.

// Inspection is the result of Inspect.
type Inspection struct {
	Files     []InspectedFile // the journal's files in use, in the order of generation
	Last      LSN             // the last entry that Open would find; 0 if there is Damage
	Torn      *Torn           // the torn tail that Open would cut, with an empty KeptIn; nil if there is none
	Damage    []*CorruptError // first the error with which Open would fail, then all other places that cannot be read
	TornFiles []string        // full names of files to which earlier Opens have copied torn tails
	Spares    []string
	Reserves  int      // number of files in the reserve; a complete reserve has ReserveFiles
	Foreign   []string // full names of files that do not belong to a journal
}

// ReserveFiles is the number of files in the reserve of a journal, which the journal uses when the disk is full.
const ReserveFiles = reserveFiles

// RoomBytes returns how many bytes of free space a journal with the default Options.FileBytes needs before it accepts
// all entries again.
func (in Inspection) RoomBytes() int64 {
	needs := int64(ReserveFiles-min(in.Reserves, ReserveFiles)) * maxReserveBytes
	if len(in.Spares) == 0 {
		needs += urgentFileBytes
	}
	return needs
}

// InspectedFile describes one file of a journal.
type InspectedFile struct {
	Name      string // full name
	SizeBytes int64
	UsedBytes int64 // position of the end of the last whole frame
	First     LSN   // LSN of the first whole frame; 0 if there is none
	Frames    int
}

// Inspect reports what Open would find in a journal, with all damage and not only the first. It reads all files and
// changes none. The journal must not be open. after has the meaning that it has for Open. Damage is reported in the
// result; the error is one of I/O or a *VersionError.
func Inspect(fs vfs.FS, dir string, after LSN) (Inspection, error) {
	var in Inspection
	infos, err := fs.List(dir)
	if err != nil {
		return in, err
	}
	inv, err := listFiles(fs, dir)
	if err != nil {
		return in, err
	}
	known := map[string]bool{}
	for _, m := range inv.markers {
		known[markerName(m)] = true
	}
	for _, s := range inv.spares {
		in.Spares = append(in.Spares, s.name)
		known[path.Base(s.name)] = true
	}
	for _, f := range inv.reserves {
		known[path.Base(f.name)] = true
	}
	in.Reserves = len(inv.reserves)
	for _, t := range inv.torn {
		in.TornFiles = append(in.TornFiles, path.Join(dir, t))
		known[t] = true
	}
	for _, f := range inv.journals {
		known[path.Base(f.name)] = true
	}
	for _, i := range infos {
		if !known[i.Name] {
			in.Foreign = append(in.Foreign, path.Join(dir, i.Name))
		}
	}

	// A recovery over an overlay, which keeps written files in memory, finds out what Open would do.
	r := &recovery{fs: vfs.NewOverlay(fs), dir: dir, after: after, inv: inv, next: after + 1,
		replay: func(LSN, Kind, []byte) error { return nil }}
	err = r.run()
	corrupt, isCorrupt := errors.AsType[*CorruptError](err)
	switch {
	case isCorrupt:
		in.Damage = append(in.Damage, corrupt)
	case err != nil:
		return in, err
	default:
		in.Last, in.Torn = r.next-1, r.result.Torn
	}
	if in.Torn != nil {
		in.Torn.KeptIn = ""
	}

	for _, f := range inv.journals {
		file, gaps, err := inspectFile(fs, f)
		if err != nil {
			return in, err
		}
		in.Files = append(in.Files, file)
		for _, gap := range gaps {
			// Open does not read files that it does not need, so that damage in them has no consequence.
			if gap.LSN > after && !slices.ContainsFunc(in.Damage, func(c *CorruptError) bool { return c.File == gap.File && c.PositionBytes == gap.PositionBytes }) {
				in.Damage = append(in.Damage, gap)
			}
		}
	}
	return in, nil
}

// inspectFile reads the frames of a file that have the file's generation. gaps are the places between them that cannot
// be read.
func inspectFile(fs vfs.FS, f dirFile) (file InspectedFile, gaps []*CorruptError, err error) {
	file = InspectedFile{Name: f.name, SizeBytes: f.sizeBytes}
	next, brokenAt := LSN(0), int64(-1)
	err = eachFrame(fs, f, func(at int64, frame frame) error {
		if frame.generation != f.generation {
			return nil
		}
		if file.Frames == 0 {
			file.First = frame.first
		}
		if brokenAt = file.UsedBytes; at > brokenAt && frame.first > next {
			gaps = append(gaps, &CorruptError{File: f.name, PositionBytes: brokenAt, LSN: max(next, 1),
				Reason: fmt.Sprintf("%d bytes can't be read; behind them the file goes on with LSN %d", at-brokenAt, frame.first)})
		}
		file.Frames++
		file.UsedBytes = at + frame.sizeBytes
		next = frame.first + LSN(frame.count)
		return nil
	})
	return file, gaps, err
}

// eachFrame calls do for every whole frame of a file, in the order of positions. At a position without a whole frame it
// goes on frameAlign bytes later, so that it also finds frames behind damage. The frames may have any generation.
func eachFrame(fs vfs.FS, f dirFile, do func(positionBytes int64, frame frame) error) error {
	file, err := fs.OpenRead(f.name)
	if err != nil {
		return err
	}
	rd := &reader{f: file, name: f.name, generation: f.generation, sizeBytes: f.sizeBytes}
	for at := int64(0); at < f.sizeBytes && err == nil; {
		frame, ok, readErr := rd.frame(at)
		switch {
		case readErr != nil:
			err = readErr
		case !ok:
			at += frameAlign
		default:
			err = do(at, frame)
			at += frame.sizeBytes
		}
	}
	return errors.Join(err, file.Close())
}

// Range is the entries with LSNs in [First, Last].
type Range struct{ First, Last LSN }

// Salvaged is the result of Salvage.
type Salvaged struct {
	Entries int
	First   LSN // LSN of the first entry that was passed to do; 0 if there was none
	Last    LSN // LSN of the last entry that was passed to do; the argument after if there was none
	// Lost are the entries that are missing before and between those that were found.
	Lost []Range
}

// Salvage calls do for every entry above after that can still be read, in the order of LSN. It finds frames behind
// damage, in files with wrong names, and in spares. If a recovery has written an entry again, Salvage uses the later
// copy. Entries that are missing before the last one found are returned as Lost; whether entries are missing after it
// cannot be known. A journal whose directory does not exist has no entries. The payload is valid until do returns. If
// do returns an error, Salvage returns it at once.
func Salvage(fs vfs.FS, dir string, after LSN, do func(LSN, Kind, []byte) error) (Salvaged, error) {
	out := Salvaged{Last: after}
	inv, err := listFiles(fs, dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	type framePosition struct {
		dirFile
		header
		at int64
	}
	var places []framePosition
	begins := map[uint64]LSN{} // for each generation the lowest LSN in a frame of it
	for _, f := range append(inv.journals, inv.spares...) {
		err := eachFrame(fs, f, func(at int64, frame frame) error {
			places = append(places, framePosition{f, frame.header, at})
			if first, seen := begins[frame.generation]; !seen || frame.first < first {
				begins[frame.generation] = frame.first
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	// The entries of a generation are valid up to the first LSN of any later generation.
	limits := map[uint64]LSN{}
	limit := noLimit
	for _, g := range slices.Backward(slices.Sorted(maps.Keys(begins))) {
		limits[g] = limit
		limit = min(limit, begins[g])
	}
	slices.SortStableFunc(places, func(a, b framePosition) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.header.generation, a.header.generation))
	})
	for _, p := range places {
		limit := limits[p.header.generation]
		if p.count == 0 || p.first+LSN(p.count) <= out.Last+1 || p.first >= limit {
			continue
		}
		if p.first > out.Last+1 {
			out.Lost = append(out.Lost, Range{out.Last + 1, p.first - 1})
		}
		err := readFrame(fs, p.dirFile, p.at, func(lsn LSN, kind Kind, payload []byte) error {
			if lsn <= out.Last && out.Entries > 0 || lsn <= after || lsn >= limit {
				return nil
			}
			out.Entries++
			out.First = cmp.Or(out.First, lsn)
			out.Last = lsn
			return do(lsn, kind, payload)
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// readFrame calls do for the entries of the frame at a position. eachFrame must have found a whole frame there.
func readFrame(fs vfs.FS, f dirFile, at int64, do func(LSN, Kind, []byte) error) error {
	file, err := fs.OpenRead(f.name)
	if err != nil {
		return err
	}
	defer file.Close()
	rd := &reader{f: file, name: f.name, sizeBytes: f.sizeBytes}
	frame, ok, err := rd.frame(at)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("journal: %s changed while it was read", f.name))
	}
	return eachEntry(frame.body, frame.header, do)
}

// Entries calls do for the entries in (after, upTo], in the order of LSN. Another goroutine or process may append to
// the journal meanwhile. The entries must be durable already and must not be released before Entries returns. The
// payload is valid until do returns. If do returns an error, Entries stops and returns an error that wraps it.
func Entries(fs vfs.FS, dir string, after, upTo LSN, do func(LSN, Kind, []byte) error) error {
	if upTo <= after {
		return nil
	}
	inv, err := listFiles(fs, dir)
	if err != nil {
		return err
	}
	r := &recovery{fs: fs, dir: dir, after: after, inv: inv, next: after + 1, replay: do}
	for _, f := range inv.journals {
		if err := r.classify(f); err != nil {
			return err
		}
	}
	start := 0
	for start+1 < len(r.chain) && r.chain[start+1].first <= after+1 {
		start++
	}
	for i := start; i < len(r.chain) && r.next <= upTo; i++ {
		limit := upTo + 1
		if i+1 < len(r.chain) {
			limit = min(limit, r.chain[i+1].first)
		}
		if err := r.readFile(r.chain[i], limit); err != nil {
			return err
		}
	}
	if r.next <= upTo {
		return fmt.Errorf("%w: %s: LSN %d can't be found", ErrCorrupt, dir, r.next)
	}
	return nil
}

// IsSpare reports whether name, in a journal's directory, is that of a spare: a file without entries that the journal
// needs, which a copy of the directory can leave out.
func IsSpare(name string) bool {
	_, ok := generationOf(name)
	return ok && strings.HasSuffix(name, spareSuffix)
}

// Create creates a journal whose first entry will have the LSN after+1, in a directory that contains no journal. It is
// for data directories that are assembled from parts. The caller must Close the journal.
func Create(fs vfs.FS, dir string, after LSN, o Options) (*Journal, error) {
	if after == math.MaxUint64 {
		return nil, fmt.Errorf("journal: no LSN follows %d", after)
	}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	inv, err := listFiles(fs, dir)
	if err != nil {
		return nil, err
	}
	if len(inv.journals) > 0 || len(inv.markers) > 0 {
		return nil, fmt.Errorf("journal: %s holds a journal already", dir)
	}
	j, err := (&recovery{fs: fs, dir: dir, after: after, inv: inv, next: after + 1}).start(o.withDefaults())
	if err != nil {
		return nil, err
	}
	go j.run()
	return j, nil
}

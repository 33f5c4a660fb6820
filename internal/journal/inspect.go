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

// What follows looks at a journal that nobody has open, and changes nothing: for tools that say what is wrong with it,
// and that save what can be saved.

// Inspection is what Inspect found.
type Inspection struct {
	Files    []InspectedFile // in use, in order of generation
	Last     LSN             // the last entry that Open would replay or know of; 0 with Damage
	Torn     *Torn           // what Open would set aside; KeptIn is empty. Nil: nothing
	Damage   []*CorruptError // why Open would refuse first, then every other place that can't be read
	KeptTorn []string        // torn tails that earlier recoveries set aside
	Spares   []string
	KeptBack int      // how many files of those that are kept back for when the disk is full are there, of ReserveFiles
	Foreign  []string // names that are not the journal's
}

// ReserveFiles is how many files a journal keeps back for when the disk is full.
const ReserveFiles = reserveFiles

// RoomBytes is how much room a journal of usual size needs so that all entries are taken.
func (in Inspection) RoomBytes() int64 {
	needs := int64(ReserveFiles-min(in.KeptBack, ReserveFiles)) * maxReserveBytes
	if len(in.Spares) == 0 {
		needs += quickBytes
	}
	return needs
}

// InspectedFile is one file of a journal.
type InspectedFile struct {
	Name      string // full
	SizeBytes int64
	UsedBytes int64 // up to the end of its last whole frame
	First     LSN   // of its first whole frame
	Frames    int
}

// Inspect says what Open would make of a journal, and more: all that is wrong with it and not only the first. after is
// that of Open. The error is one of reading, or a *VersionError.
func Inspect(fs vfs.FS, dir string, after LSN) (Inspection, error) {
	var in Inspection
	infos, err := fs.List(dir)
	if err != nil {
		return in, err
	}
	inv, err := takeInventory(fs, dir)
	if err != nil {
		return in, err
	}
	known := map[string]bool{}
	for _, m := range inv.marked {
		known[latestName(m)] = true
	}
	for _, s := range inv.spares {
		in.Spares = append(in.Spares, s.name)
		known[path.Base(s.name)] = true
	}
	for _, f := range inv.reserves {
		known[path.Base(f.name)] = true
	}
	in.KeptBack = len(inv.reserves)
	for _, t := range inv.torn {
		in.KeptTorn = append(in.KeptTorn, path.Join(dir, t))
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

	// A rehearsal says what Open would do. It sets torn tails aside, in memory.
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
		file, holes, err := inspectFile(fs, f)
		if err != nil {
			return in, err
		}
		in.Files = append(in.Files, file)
		for _, hole := range holes {
			// What Open doesn't need it doesn't read; whatever stands there is of no consequence.
			if hole.LSN > after && !slices.ContainsFunc(in.Damage, func(c *CorruptError) bool { return c.File == hole.File && c.PositionBytes == hole.PositionBytes }) {
				in.Damage = append(in.Damage, hole)
			}
		}
	}
	return in, nil
}

// inspectFile walks over a file's own frames, and over what lies between them and can't be read.
func inspectFile(fs vfs.FS, f found) (file InspectedFile, holes []*CorruptError, err error) {
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
			holes = append(holes, &CorruptError{File: f.name, PositionBytes: brokenAt, LSN: max(next, 1),
				Reason: fmt.Sprintf("%d bytes can't be read; behind them the file goes on with LSN %d", at-brokenAt, frame.first)})
		}
		file.Frames++
		file.UsedBytes = at + frame.sizeBytes
		next = frame.first + LSN(frame.count)
		return nil
	})
	return file, holes, err
}

// eachFrame calls do for every whole frame of a file, of whatever generation, wherever it stands.
func eachFrame(fs vfs.FS, f found, do func(positionBytes int64, frame frame) error) error {
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

// Range is the entries [First, Last].
type Range struct{ First, Last LSN }

// Salvaged is what Salvage could read.
type Salvaged struct {
	Entries int
	First   LSN // that was given out; 0 with none
	Last    LSN // that was given out, or after
	Lost    []Range
}

// Salvage calls do for every entry above after that can still be read, in order, wherever its frame stands: behind
// damage, in a file under a wrong name, among the spares. What a recovery wrote again counts as it was written last. Lost
// are the entries between those that were found; what may be missing behind the last can't be known. The payload is
// do's until it returns.
func Salvage(fs vfs.FS, dir string, after LSN, do func(LSN, Kind, []byte) error) (Salvaged, error) {
	out := Salvaged{Last: after}
	inv, err := takeInventory(fs, dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	type place struct {
		found
		header
		at int64
	}
	var places []place
	begins := map[uint64]LSN{} // by generation: the lowest LSN that stands in it
	for _, f := range append(inv.journals, inv.spares...) {
		err := eachFrame(fs, f, func(at int64, frame frame) error {
			places = append(places, place{f, frame.header, at})
			if first, seen := begins[frame.generation]; !seen || frame.first < first {
				begins[frame.generation] = frame.first
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	// The entries of a generation end where a later one begins.
	limits := map[uint64]LSN{}
	limit := noLimit
	for _, g := range slices.Backward(slices.Sorted(maps.Keys(begins))) {
		limits[g] = limit
		limit = min(limit, begins[g])
	}
	slices.SortStableFunc(places, func(a, b place) int {
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
		err := readFrame(fs, p.found, p.at, func(lsn LSN, kind Kind, payload []byte) error {
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

func readFrame(fs vfs.FS, f found, at int64, do func(LSN, Kind, []byte) error) error {
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

// Entries calls do for the entries above after, up to and including upTo, of a journal that somebody else may be
// appending to: they must be durable, and not be released meanwhile. The payload is do's until it returns.
func Entries(fs vfs.FS, dir string, after, upTo LSN, do func(LSN, Kind, []byte) error) error {
	if upTo <= after {
		return nil
	}
	inv, err := takeInventory(fs, dir)
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

// IsSpare tells the name of a file that holds nothing: a copy of the directory does without it.
func IsSpare(name string) bool {
	_, ok := generationOf(name)
	return ok && strings.HasSuffix(name, spareSuffix)
}

// Begin makes a journal, in a directory that holds none, whose first entry gets the LSN after+1: for a directory that is
// put together from parts.
func Begin(fs vfs.FS, dir string, after LSN, o Options) (*Journal, error) {
	if after == math.MaxUint64 {
		return nil, fmt.Errorf("journal: no LSN follows %d", after)
	}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	inv, err := takeInventory(fs, dir)
	if err != nil {
		return nil, err
	}
	if len(inv.journals) > 0 || len(inv.marked) > 0 {
		return nil, fmt.Errorf("journal: %s holds a journal already", dir)
	}
	j, err := (&recovery{fs: fs, dir: dir, after: after, inv: inv, next: after + 1}).start(o.withDefaults())
	if err != nil {
		return nil, err
	}
	go j.run()
	return j, nil
}

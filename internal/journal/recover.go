package journal

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"tidings.dev/internal/vfs"
)

// Recovery describes what Open has found.
type Recovery struct {
	Entries int   // number of entries that were replayed
	Bytes   int64 // size of the frames with these entries
	Last    LSN   // LSN of the last durable entry; Open's argument after if there is none above it
	Torn    *Torn // the torn tail that was cut; nil if there was none
	Clean   bool  // the journal was closed without an error, or is new, so that everything that was written is there
}

// Torn describes a torn tail: the bytes of a frame that was begun and did not become durable, so that Done was not
// called for its entries.
type Torn struct {
	File          string
	PositionBytes int64
	Bytes         int64  // number of bytes that were copied
	KeptIn        string // full name of the file to which the bytes were copied
}

// maxTornFiles is the largest number of files with torn tails in a directory. For a further one, the oldest is removed.
const maxTornFiles = 16

// Open opens the journal in a directory of fs, or creates the directory and a journal. Before it returns, it calls
// replay, which must not be nil, for every entry above after, in the order of LSN. The payload is valid until replay
// returns. If replay returns an error, Open returns an error that wraps it. after is the LSN of the last entry whose
// effect the caller has made durable elsewhere. It must be at least the upTo of the last Release.
//
// If entries that were durable are damaged, Open changes nothing and returns a *CorruptError. A frame that was begun
// and did not become durable is a torn tail: Open cuts it, copies it to a file of its own, and reports it. New entries
// never go to a file of an earlier Open. After an error, the Recovery describes what Open had found until then. The
// caller must Close the journal.
func Open(fs vfs.FS, dir string, after LSN, replay func(LSN, Kind, []byte) error, o Options) (*Journal, Recovery, error) {
	o = o.withDefaults()
	if err := fs.MkdirAll(dir); err != nil {
		return nil, Recovery{}, err
	}
	inv, err := listFiles(fs, dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	r := &recovery{fs: fs, dir: dir, after: after, replay: replay, inv: inv, next: after + 1}
	if err := r.run(); err != nil {
		return nil, r.result, err
	}
	j, err := r.start(o)
	if err != nil {
		return nil, r.result, err
	}
	r.result.Last = r.next - 1
	go j.run()
	return j, r.result, nil
}

// recovery is the state of one call of Open. It is used by one goroutine.
type recovery struct {
	fs     vfs.FS
	dir    string
	after  LSN
	replay func(LSN, Kind, []byte) error
	inv    inventory
	buffer []byte   // memory of the readers, of which one at a time exists
	chunks []*chunk // memory of the prefetchers, of which one at a time exists

	// chain has the files that begin with a whole frame of their own generation, in the order of generation and of
	// first.
	chain    []chainFile
	headless []dirFile // the other journal files
	next     LSN       // LSN of the next entry to replay; above after, unless the journal ends too early
	result   Recovery

	// unproven is a copy of the last entries of the journal, for which no later frame proves that they were durable:
	// those of the last frame, and of the frames before it that were written without a sync. start writes them again.
	unproven       []byte
	unprovenHeader header
}

// chainFile is a journal file with the first LSN of its first frame.
type chainFile struct {
	dirFile
	first LSN
}

// run reads the journal and replays it. It changes no file, except that it copies a torn tail to a file of its own.
func (r *recovery) run() error {
	for _, f := range r.inv.journals {
		if err := r.classify(f); err != nil {
			return err
		}
	}
	if missing := r.inv.missing(); missing > 0 {
		return &CorruptError{File: path.Join(r.dir, journalName(missing)), LSN: r.after + 1, Reason: "the file is missing"}
	}
	if len(r.chain) == 0 {
		return r.checkEmpty()
	}
	// Files in which all entries are at or below after are not read, so that damage in them does no harm.
	start := 0
	for start+1 < len(r.chain) && r.chain[start+1].first <= r.after+1 {
		start++
	}
	if first := r.chain[start]; first.first > r.after+1 {
		if err := r.attributeGap(0, first.generation); err != nil {
			return err
		}
		return r.corrupt(first.dirFile, 0, r.after+1,
			fmt.Sprintf("it begins with LSN %d, and nothing before it holds LSN %d", first.first, r.after+1))
	}
	for i := start; i < len(r.chain); i++ {
		limit := noLimit
		if i+1 < len(r.chain) {
			// Entries that are in a later file too were written again by a recovery; only the later copies count.
			limit = r.chain[i+1].first
		}
		if err := r.readFile(r.chain[i], limit); err != nil {
			return err
		}
	}
	if r.next <= r.after {
		return r.endsEarly()
	}
	return r.checkHeadless(r.chain[len(r.chain)-1].generation)
}

// endsEarly returns the *CorruptError for a journal whose last entry that can be read is before one that was durable. It names the
// file that should have the missing entries, if there is a sign which one that is, and otherwise the last one of the chain.
func (r *recovery) endsEarly() error {
	last := r.chain[len(r.chain)-1]
	if err := r.attributeGap(last.generation, noGeneration); err != nil {
		return err
	}
	reason := fmt.Sprintf("the journal ends before LSN %d, which was durable", r.after)
	for _, hole := range r.headless {
		if hole.generation < last.generation || r.result.Torn != nil {
			continue
		}
		err := r.open(hole, func(rd *reader) error {
			if used, err := rd.usedAt(0); err != nil || !used {
				return err
			}
			return r.corrupt(hole, 0, r.next, "nothing here can be read, and "+reason)
		})
		if err != nil {
			return err
		}
	}
	return r.corrupt(last.dirFile, last.sizeBytes, r.next, reason)
}

// open calls do with a reader of the file f, and closes the file afterwards.
func (r *recovery) open(f dirFile, do func(*reader) error) error {
	file, err := r.fs.OpenRead(f.name)
	if err != nil {
		return err
	}
	rd := &reader{f: file, name: f.name, generation: f.generation, sizeBytes: f.sizeBytes, buffer: r.buffer[:0]}
	err = do(rd)
	r.buffer = rd.buffer
	return errors.Join(err, file.Close())
}

// classify adds a file to r.chain if it begins with a whole frame of its own generation, and to r.headless otherwise.
func (r *recovery) classify(f dirFile) error {
	return r.open(f, func(rd *reader) error {
		head, ok, err := rd.frame(0)
		if err != nil {
			return err
		}
		if !ok || head.generation != f.generation {
			r.headless = append(r.headless, f)
			return nil
		}
		if n := len(r.chain); n > 0 && head.first < r.chain[n-1].first {
			return r.corrupt(f, 0, head.first, fmt.Sprintf("it begins with LSN %d, and the file before it with %d", head.first, r.chain[n-1].first))
		}
		r.chain = append(r.chain, chainFile{f, head.first})
		return nil
	})
}

// checkEmpty checks a directory in which no file begins with a whole frame of its own generation. Such a directory is
// in order only if no Open has ever succeeded there.
func (r *recovery) checkEmpty() error {
	r.result.Clean = true
	if err := r.checkHeadless(0); err != nil {
		return err
	}
	if r.after > 0 {
		return &CorruptError{File: r.dir, LSN: r.after + 1,
			Reason: fmt.Sprintf("no journal file can be read, and LSN %d was durable", r.after)}
	}
	return nil
}

// readFile replays the entries of a file that are below limit, and decides what it means if its frames end before that.
func (r *recovery) readFile(f chainFile, limit LSN) error {
	return r.open(f.dirFile, func(rd *reader) error {
		frames := r.prefetch(rd)
		defer frames.end()
		expected, position, last := f.first, int64(0), header{}
		for expected < limit {
			frame, ok, err := frames.next()
			if err != nil {
				return err
			}
			if !ok || frame.generation != f.generation {
				if ok && frame.first+LSN(frame.count) > expected {
					return r.corrupt(f.dirFile, position, expected,
						fmt.Sprintf("here stands a frame of file %s", journalName(frame.generation)))
				}
				return r.classifyEnd(rd, f.dirFile, position, expected, limit, last)
			}
			if frame.first != expected {
				return r.corrupt(f.dirFile, position, expected, fmt.Sprintf("here stands LSN %d", frame.first))
			}
			if err := r.replayFrame(f.dirFile, position, frame, limit); err != nil {
				return err
			}
			expected += LSN(frame.count)
			position += frame.sizeBytes
			last = frame.header
			if limit == noLimit {
				r.keepUnproven(frame)
			}
		}
		return nil
	})
}

// replayFrame replays the entries of a frame that are above r.after and below limit.
func (r *recovery) replayFrame(f dirFile, position int64, frame frame, limit LSN) error {
	before := r.result.Entries
	err := eachEntry(frame.body, frame.header, func(lsn LSN, kind Kind, payload []byte) error {
		if lsn >= limit || lsn <= r.after {
			return nil
		}
		r.result.Entries++
		if err := r.replay(lsn, kind, payload); err != nil {
			return fmt.Errorf("replay LSN %d of %s: %w", lsn, f.name, err)
		}
		return nil
	})
	if errors.Is(err, errEntries) {
		return r.corrupt(f, position, frame.first, err.Error())
	}
	if err != nil {
		return err
	}
	if r.result.Entries > before {
		r.result.Bytes += frame.sizeBytes
	}
	r.next = min(limit, frame.first+LSN(frame.count))
	return nil
}

// keepUnproven adds the entries of a frame of the last file to r.unproven. If the frame states that the entries before
// it were durable when it was written, these are removed from r.unproven. The remaining entries may have been read from
// the page cache and not be on the disk, so start writes them again, as one frame.
func (r *recovery) keepUnproven(f frame) {
	if len(r.unproven) == 0 || f.durable >= f.first-1 {
		r.unproven, r.unprovenHeader = append(r.unproven[:0], f.body...), f.header
		return
	}
	r.unproven = append(r.unproven, f.body...)
	r.unprovenHeader.count += f.count
}

// classifyEnd decides what it means that there is no frame at a position. It returns nil at the end of the journal and
// at a torn tail, which it saves, and a *CorruptError for damage. last is the header of the frame before that position.
func (r *recovery) classifyEnd(rd *reader, f dirFile, position int64, expected, limit LSN, last header) error {
	if limit != noLimit {
		// A later file has the entries from limit on. If a file in between should have the missing entries, that file
		// is damaged.
		if err := r.attributeGap(f.generation, noGeneration); err != nil {
			return err
		}
		return r.corrupt(f, position, expected, fmt.Sprintf("nothing here can be read, and a later file goes on with LSN %d", limit))
	}
	switch {
	case f.sizeBytes < int64(last.fileSectors)*frameAlign:
		return r.corrupt(f, position, expected, fmt.Sprintf("the file is cut: it has %d of %d bytes", f.sizeBytes, int64(last.fileSectors)*frameAlign))
	case last.flags&flagEnd != 0:
		r.result.Clean = true
		return nil
	}
	proven, err := rd.provenAfter(position, expected)
	if err != nil {
		return err
	}
	if proven {
		return r.corrupt(f, position, expected, "nothing here can be read, and what follows proves that it was durable")
	}
	return r.saveTornTail(rd, position, expected)
}

// noGeneration is above every generation.
const noGeneration = ^uint64(0)

// checkHeadless checks the headless files whose generation is higher than above. Each of them must be a file that was
// begun and got no durable frame; otherwise it is damaged, and checkHeadless returns a *CorruptError.
func (r *recovery) checkHeadless(above uint64) error {
	for _, hole := range r.headless {
		if hole.generation <= above {
			continue
		}
		err := r.open(hole, func(rd *reader) error {
			reason, err := r.damageOfHeadless(rd)
			if err != nil {
				return err
			}
			if reason != "" {
				return r.corrupt(hole, 0, r.next, reason)
			}
			return r.saveTornTail(rd, 0, r.next)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attributeGap looks for a headless file, with a generation between above and below, that should have the missing
// entries. It returns a *CorruptError that names the file, or nil if there is none.
func (r *recovery) attributeGap(above, below uint64) error {
	for _, hole := range r.headless {
		if hole.generation <= above || hole.generation >= below {
			continue
		}
		err := r.open(hole, func(rd *reader) error {
			reason, err := r.damageOfHeadless(rd)
			if err != nil {
				return err
			}
			wasBegun, err := rd.mayBeginAt(0, r.next)
			if err != nil {
				return err
			}
			if reason == "" && wasBegun {
				reason = "nothing here can be read, and a later file goes on"
			}
			if reason != "" {
				return r.corrupt(hole, 0, r.next, reason)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// damageOfHeadless returns the reason if something shows that a headless file had durable entries, and "" otherwise.
func (r *recovery) damageOfHeadless(rd *reader) (string, error) {
	if rd.sizeBytes < minFileBytes {
		return fmt.Sprintf("the file is cut: it has %d bytes", rd.sizeBytes), nil
	}
	other, ok, err := rd.frame(0)
	if err != nil {
		return "", err
	}
	if ok && other.first+LSN(other.count) > r.next {
		return fmt.Sprintf("here stands a frame of file %s", journalName(other.generation)), nil
	}
	proven, err := rd.provenAfter(0, r.next)
	if err != nil {
		return "", err
	}
	if proven {
		return "nothing here can be read, and what follows proves that it was durable", nil
	}
	return r.foundUnder(rd.generation)
}

// foundUnder looks in files of other names for the first frame of the file with a generation: in the spares, the
// reserve and the other journal files. A renamed file could be there. If it finds the frame, it returns a reason that
// names the file, and otherwise "".
func (r *recovery) foundUnder(generation uint64) (reason string, err error) {
	for _, spare := range slices.Concat(r.inv.spares, r.inv.reserves, r.inv.journals) {
		if spare.name == path.Join(r.dir, journalName(generation)) {
			continue
		}
		f, err := r.fs.OpenRead(spare.name)
		if err != nil {
			return "", err
		}
		rd := &reader{f: f, name: spare.name, sizeBytes: spare.sizeBytes}
		head, ok, err := rd.frame(0)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		if ok && head.generation == generation {
			return fmt.Sprintf("its frames stand in %s", spare.name), nil
		}
	}
	return "", nil
}

// saveTornTail looks for a torn tail at a position, where the frame that starts with entry expected should be. If there
// is one, it copies the torn tail to a file of its own, sets result.Torn if it is not set, and removes the oldest such
// files if there would be more than maxTornFiles. The content of the new file is synced; the directory is not.
func (r *recovery) saveTornTail(rd *reader, position int64, expected LSN) error {
	torn, err := rd.mayBeginAt(position, expected)
	if err != nil || !torn {
		return err
	}
	b, err := rd.at(position, headerBytes)
	if err != nil {
		return err
	}
	size := frameBytes(int64(parseHeader(b).lengthBytes))
	if b, err = rd.at(position, size); err != nil {
		return err
	}
	name := tornName(rd.generation, position)
	kept, err := r.fs.Create(path.Join(r.dir, name))
	if err != nil {
		return err
	}
	if _, err = kept.WriteAt(b, 0); err == nil {
		err = kept.Sync()
	}
	if err = errors.Join(err, kept.Close()); err != nil {
		return err
	}
	if r.result.Torn == nil {
		r.result.Torn = &Torn{File: rd.name, PositionBytes: position, Bytes: int64(len(b)), KeptIn: path.Join(r.dir, name)}
	}
	old := append([]string(nil), r.inv.torn...)
	for ; len(old) >= maxTornFiles; old = old[1:] {
		if old[0] == name {
			continue
		}
		if err := r.fs.Remove(path.Join(r.dir, old[0])); err != nil {
			return err
		}
	}
	return nil
}

// corrupt returns a *CorruptError for the file f.
func (r *recovery) corrupt(f dirFile, position int64, lsn LSN, reason string) error {
	return &CorruptError{File: f.name, PositionBytes: position, LSN: lsn, Reason: reason}
}

// start begins a new file, writes the unproven entries to it, and returns the journal. It does not start the journal's
// goroutine.
func (r *recovery) start(o Options) (*Journal, error) {
	j := &Journal{dir: r.dir, o: o, next: r.next, ended: make(chan struct{})}
	j.work.L, j.room.L = &j.mu, &j.mu
	j.files = files{fs: patientFS{r.fs}, dir: r.dir, opening: true, fileBytes: o.FileBytes, log: o.Logger, nextGeneration: r.inv.nextGeneration}
	for _, spare := range r.inv.spares {
		if spare.sizeBytes == o.FileBytes {
			j.files.spares = append(j.files.spares, path.Base(spare.name))
		} else if err := r.fs.Remove(spare.name); err != nil {
			return nil, err
		}
	}
	for _, f := range r.inv.reserves {
		if f.sizeBytes == j.files.reserveBytes() {
			j.files.reserves = append(j.files.reserves, path.Base(f.name))
		} else if err := r.fs.Remove(f.name); err != nil {
			return nil, err
		}
	}
	j.files.markers = r.inv.markers
	h := header{first: r.next, durable: r.next - 1}
	body := r.unproven
	if r.unprovenHeader.count > 0 {
		h = header{first: r.unprovenHeader.first, durable: r.unprovenHeader.first - 1, count: r.unprovenHeader.count}
	} else {
		body = nil
	}
	// A file is useless if later files contain all its entries. Such files are recycled, so that they do not accumulate
	// if the journal is opened many times without an Append. They are recycled only after the new file is durable,
	// because until then a recovery needs the chain as it is. Files whose entries are all at or below after stay until
	// a Release: the checkpoint that the caller uses may turn out to be damaged, and the checkpoint before it needs
	// them.
	var useless []liveFile
	for i, f := range r.chain {
		next := h.first
		if i+1 < len(r.chain) {
			next = r.chain[i+1].first
		}
		live := liveFile{generation: f.generation, first: f.first, sizeBytes: f.sizeBytes, durable: true, old: true}
		if next == f.first {
			useless = append(useless, live)
		} else {
			j.files.live = append(j.files.live, live)
		}
	}
	for _, hole := range r.headless {
		useless = append(useless, liveFile{generation: hole.generation, sizeBytes: hole.sizeBytes, old: true})
	}
	if r.result.Bytes > 0 {
		j.files.writtenBytes = r.result.Bytes
		j.files.samples = []sizeSample{{last: r.next - 1, endBytes: r.result.Bytes}}
	}

	j.durable.Store(uint64(h.durable))
	j.frame.begin()
	j.frame.addEntries(body)
	err := j.writeFrame(h, true)
	// The journal is opened on a full disk too: it can be read, and it accepts entries of PriorityVital.
	if errors.Is(err, ErrFull) && len(r.chain) > 0 {
		j.full = err
		err = j.writeFrame(h, true)
	}
	if err == nil {
		err = j.sync()
	}
	if err == nil && j.full == nil {
		if err = j.files.fillReserves(); errors.Is(err, ErrFull) {
			o.Logger.Warn("no room to keep journal files back for when the disk is full", "dir", r.dir, "cause", err)
			err = nil
		}
	}
	if err != nil {
		if j.current != nil {
			err = errors.Join(err, j.current.f.Close())
		}
		err = errors.Join(err, j.files.close(true))
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	j.frame = outFrame{}
	j.files.naming.Lock()
	defer j.files.naming.Unlock()
	j.files.opened()
	for _, f := range useless {
		if err := j.files.recycle(f); err != nil {
			o.Logger.Warn("a journal file of no use stays", "file", path.Join(r.dir, journalName(f.generation)), "cause", err)
		}
	}
	return j, nil
}

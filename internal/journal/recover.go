package journal

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"tidings.dev/internal/vfs"
)

// Recovery is what Open found.
type Recovery struct {
	Entries int   // replayed
	Bytes   int64 // of the frames they were in
	Last    LSN   // the last durable entry, after if there is none above
	Torn    *Torn // nil: nothing was cut
	Clean   bool  // the journal was closed in good order, or is new: nothing written was lost
}

// Torn describes a tail that was begun and never made durable: nobody was told that its entries were.
type Torn struct {
	File          string
	PositionBytes int64
	Bytes         int64  // how many were kept aside
	KeptIn        string // the file that has them now
}

// maxTornFiles bounds how many torn tails are kept; the oldest goes.
const maxTornFiles = 16

// Open opens the journal in a directory of fs, which is made if it is not there, and first calls replay, which may not
// be nil, for every entry above after, in order. The payload is replay's until it returns; an error from it ends Open.
// after is what the caller has safe elsewhere, and what it last gave to Release or more.
//
// Damage to what was durable gives a *CorruptError and changes nothing. What was merely begun is a torn tail: it is
// cut, kept aside, and reported. Nothing is ever appended to a file of an earlier Open.
func Open(fs vfs.FS, dir string, after LSN, replay func(LSN, Kind, []byte) error, o Options) (*Journal, Recovery, error) {
	o = o.withDefaults()
	if err := fs.MkdirAll(dir); err != nil {
		return nil, Recovery{}, err
	}
	inv, err := takeInventory(fs, dir)
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

// recovery is an Open under way.
type recovery struct {
	fs     vfs.FS
	dir    string
	after  LSN
	replay func(LSN, Kind, []byte) error
	inv    inventory
	buffer []byte // shared by all readers

	windows []*window // shared by those that read ahead

	chain  []link  // the files with a whole first frame of their own generation, in order
	holes  []found // the other journal files
	next   LSN     // the entry that is expected next
	result Recovery

	// tail is a copy of the entries at the end of which nothing proves that they were durable: those of the last frame,
	// and of the frames before it that were written without a sync.
	tail       []byte
	tailHeader header
}

// link is a file with the first LSN in it.
type link struct {
	found
	first LSN
}

// run reads the journal and changes nothing but to set a torn tail aside.
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
	// A file in which all is at or below after need not be readable.
	start := 0
	for start+1 < len(r.chain) && r.chain[start+1].first <= r.after+1 {
		start++
	}
	if first := r.chain[start]; first.first > r.after+1 {
		if err := r.blameHole(0, first.generation); err != nil {
			return err
		}
		return r.corrupt(first.found, 0, r.after+1,
			fmt.Sprintf("it begins with LSN %d, and nothing before it holds LSN %d", first.first, r.after+1))
	}
	for i := start; i < len(r.chain); i++ {
		limit := noLimit
		if i+1 < len(r.chain) {
			// What a later file holds again was rewritten by a recovery.
			limit = r.chain[i+1].first
		}
		if err := r.readFile(r.chain[i], limit); err != nil {
			return err
		}
	}
	if r.next <= r.after {
		last := r.chain[len(r.chain)-1]
		return r.corrupt(last.found, last.sizeBytes, r.next, fmt.Sprintf("the journal ends before LSN %d, which was durable", r.after))
	}
	return r.checkHoles(r.chain[len(r.chain)-1].generation)
}

// open calls do with a reader of a file.
func (r *recovery) open(f found, do func(*reader) error) error {
	file, err := r.fs.OpenRead(f.name)
	if err != nil {
		return err
	}
	rd := &reader{f: file, name: f.name, generation: f.generation, sizeBytes: f.sizeBytes, buffer: r.buffer[:0]}
	err = do(rd)
	r.buffer = rd.buffer
	return errors.Join(err, file.Close())
}

// classify puts a file into the chain, or among the holes if it doesn't begin with a frame of its own.
func (r *recovery) classify(f found) error {
	return r.open(f, func(rd *reader) error {
		head, ok, err := rd.frame(0)
		if err != nil {
			return err
		}
		if !ok || head.generation != f.generation {
			r.holes = append(r.holes, f)
			return nil
		}
		if n := len(r.chain); n > 0 && head.first < r.chain[n-1].first {
			return r.corrupt(f, 0, head.first, fmt.Sprintf("it begins with LSN %d, and the file before it with %d", head.first, r.chain[n-1].first))
		}
		r.chain = append(r.chain, link{f, head.first})
		return nil
	})
}

// checkEmpty judges a directory in which no file begins with a frame of its own: right only before the first Open
// there was done.
func (r *recovery) checkEmpty() error {
	r.result.Clean = true
	if err := r.checkHoles(0); err != nil {
		return err
	}
	if r.after > 0 {
		return &CorruptError{File: r.dir, LSN: r.after + 1,
			Reason: fmt.Sprintf("no journal file can be read, and LSN %d was durable", r.after)}
	}
	return nil
}

// readFile replays what a file holds below limit and judges what comes after.
func (r *recovery) readFile(f link, limit LSN) error {
	return r.open(f.found, func(rd *reader) error {
		frames := r.readFrames(rd)
		defer frames.end()
		expected, position, last := f.first, int64(0), header{}
		for expected < limit {
			frame, ok, err := frames.next()
			if err != nil {
				return err
			}
			if !ok || frame.generation != f.generation {
				if ok && frame.first+LSN(frame.count) > expected {
					return r.corrupt(f.found, position, expected,
						fmt.Sprintf("here stands a frame of file %s", journalName(frame.generation)))
				}
				return r.judgeEnd(rd, f.found, position, expected, limit, last)
			}
			if frame.first != expected {
				return r.corrupt(f.found, position, expected, fmt.Sprintf("here stands LSN %d", frame.first))
			}
			if err := r.deliver(f.found, position, frame, limit); err != nil {
				return err
			}
			expected += LSN(frame.count)
			position += frame.sizeBytes
			last = frame.header
			if limit == noLimit {
				r.keepTail(frame)
			}
		}
		return nil
	})
}

// deliver replays the entries of a frame that are above after and below limit.
func (r *recovery) deliver(f found, position int64, frame frame, limit LSN) error {
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

// keepTail remembers a frame of the last file, and those before it unless it says that they were durable when it was
// written: they may have been seen in the page cache only, so they are written again, as one frame.
func (r *recovery) keepTail(f frame) {
	if len(r.tail) == 0 || f.durable >= f.first-1 {
		r.tail, r.tailHeader = append(r.tail[:0], f.body...), f.header
		return
	}
	r.tail = append(r.tail, f.body...)
	r.tailHeader.count += f.count
}

// judgeEnd decides what it means that no frame can be read at a position: the end, a torn tail, or corruption.
func (r *recovery) judgeEnd(rd *reader, f found, position int64, expected, limit LSN, last header) error {
	if limit != noLimit {
		// A later file goes on above what is expected. If a file between was meant to have it, that one is to blame.
		if err := r.blameHole(f.generation, noGeneration); err != nil {
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
	return r.setAside(rd, position, expected)
}

// noGeneration is above every generation.
const noGeneration = ^uint64(0)

// checkHoles judges the files above a generation that don't begin with a frame of their own: each may have been begun
// and not have come to its first commit.
func (r *recovery) checkHoles(above uint64) error {
	for _, hole := range r.holes {
		if hole.generation <= above {
			continue
		}
		err := r.open(hole, func(rd *reader) error {
			reason, err := r.damageOfHole(rd)
			if err != nil {
				return err
			}
			if reason != "" {
				return r.corrupt(hole, 0, r.next, reason)
			}
			return r.setAside(rd, 0, r.next)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// blameHole looks, where entries are missing, for a file between two generations that should have had them, and
// returns the error for it, or nil.
func (r *recovery) blameHole(above, below uint64) error {
	for _, hole := range r.holes {
		if hole.generation <= above || hole.generation >= below {
			continue
		}
		err := r.open(hole, func(rd *reader) error {
			reason, err := r.damageOfHole(rd)
			if err != nil {
				return err
			}
			wasBegun, err := rd.begunAt(0, r.next)
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

// damageOfHole says what shows that a file without a first frame of its own had durable entries, or "".
func (r *recovery) damageOfHole(rd *reader) (string, error) {
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

// foundUnder looks under the other names for the file that a name in use should lead to: among the spares, and among the
// files that nothing is needed of any more, where it would not be missed.
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

// setAside keeps a torn tail, if there is one, and reports it.
func (r *recovery) setAside(rd *reader, position int64, expected LSN) error {
	torn, err := rd.begunAt(position, expected)
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

func (r *recovery) corrupt(f found, position int64, lsn LSN, reason string) error {
	return &CorruptError{File: f.name, PositionBytes: position, LSN: lsn, Reason: reason}
}

// start begins a new file, with the tail again if it was not proven, and makes the journal ready.
func (r *recovery) start(o Options) (*Journal, error) {
	j := &Journal{dir: r.dir, o: o, next: r.next, ended: make(chan struct{})}
	j.work.L, j.room.L = &j.mu, &j.mu
	j.files = files{fs: r.fs, dir: r.dir, opening: true, fileBytes: o.FileBytes, log: o.Logger, nextGeneration: r.inv.nextGeneration}
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
	j.files.marked = r.inv.marked
	h := header{first: r.next, durable: r.next - 1}
	body := r.tail
	if r.tailHeader.count > 0 {
		h = header{first: r.tailHeader.first, durable: r.tailHeader.first - 1, count: r.tailHeader.count}
	} else {
		body = nil
	}
	// Files of no use are those of which all comes again in a later one, so that Opens which nothing follows, one after
	// the other, don't pile them up. They are recycled only when the new file is durable: until then the chain must stay
	// as it was read. Files at or below after stay until a Release: what the caller has safe elsewhere may turn out to be
	// damaged, and what it had before needs them.
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
	for _, hole := range r.holes {
		useless = append(useless, liveFile{generation: hole.generation, sizeBytes: hole.sizeBytes, old: true})
	}
	if r.result.Bytes > 0 {
		j.files.writtenBytes = r.result.Bytes
		j.files.marks = []mark{{last: r.next - 1, endBytes: r.result.Bytes}}
	}

	j.durable.Store(uint64(h.durable))
	j.frame.begin()
	j.frame.addEntries(body)
	err := j.writeFrame(h, true)
	if errors.Is(err, ErrFull) && len(r.chain) > 0 { // what there is can be read, and vital entries be taken
		j.full = err
		err = j.writeFrame(h, true)
	}
	if err == nil {
		err = j.sync()
	}
	if err == nil && j.full == nil {
		if err = j.files.keepReserves(); errors.Is(err, ErrFull) {
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
	j.files.beginning.Lock()
	defer j.files.beginning.Unlock()
	j.files.opened()
	for _, f := range useless {
		if err := j.files.recycle(f); err != nil {
			o.Logger.Warn("a journal file of no use stays", "file", path.Join(r.dir, journalName(f.generation)), "cause", err)
		}
	}
	return j, nil
}

package story

import (
	"encoding/binary"
	"errors"
	"time"

	"tidings.dev/internal/obligation"
)

// Rows of the index file. Keys are big-endian, so that they sort as their numbers do:
//
//	partition    | topic u32 | partition u32 |
//	place        | topic u32 | partition u32 | offset u64 |
//	story event  | story u64 | seq u32 |
//
// Values are sequences of uvarints, varints, and strings with their length before them. A row that cannot be read means
// that the file is damaged: it is rebuilt from the log.
var errRow = errors.New("story: damaged row")

func partitionKey(p partition) []byte {
	b := make([]byte, 8, 16)
	binary.BigEndian.PutUint32(b, uint32(p.topic))
	binary.BigEndian.PutUint32(b[4:], uint32(p.partition))
	return b
}

func placeKey(p place) []byte {
	return binary.BigEndian.AppendUint64(partitionKey(p.partition), uint64(p.offset))
}

func placeFromKey(b []byte) place {
	return place{
		partition{topicNum(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))},
		int64(binary.BigEndian.Uint64(b[8:])),
	}
}

func u64Key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func u32Key(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// writer builds a row.
type writer struct{ b []byte }

func (w *writer) uint(n uint64)   { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) int(n int64)     { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) string(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
	} else {
		w.int(t.UnixMicro())
	}
}

// reader reads a row. After the first thing that is missing it gives zero values and bad is true.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, l := binary.Uvarint(r.b)
	if l <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[l:]
	return n
}

func (r *reader) int() int64 {
	n, l := binary.Varint(r.b)
	if l <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[l:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) time() time.Time {
	if us := r.int(); us != 0 {
		return time.UnixMicro(us).UTC()
	}
	return time.Time{}
}

// more tells whether there is something left to read.
func (r *reader) more() bool { return len(r.b) > 0 }

func (r *reader) err() error {
	if r.bad {
		return errRow
	}
	return nil
}

// eventRow is a record as the index has it, at its place.
type eventRow struct {
	fact
	foreign   bool // no CloudEvents headers
	source    nameNum
	reaction  nameNum // that emitted it; 0: none
	time      time.Time
	id        string // empty when foreign: it is its place
	causation string
	subject   string
}

// The first bytes of the row are fixed, for scans that want no more: flags u8, then story and type as uvarints.
const (
	flagForeign = 1 << 2 // bits 0 and 1 are the copyKind
)

func (e *eventRow) encode() []byte {
	w := writer{make([]byte, 0, 48+len(e.id)+len(e.causation)+len(e.subject))}
	flags := byte(e.copy)
	if e.foreign {
		flags |= flagForeign
	}
	w.b = append(w.b, flags)
	w.uint(uint64(e.story))
	w.uint(uint64(e.typ))
	w.uint(uint64(e.source))
	w.uint(uint64(e.reaction))
	w.time(e.time)
	w.string(e.id)
	w.string(e.causation)
	w.string(e.subject)
	return w.b
}

// decodeFact reads the head of an event row.
func decodeFact(b []byte) (fact, error) {
	_, f, err := readFact(b)
	return f, err
}

func readFact(b []byte) (*reader, fact, error) {
	if len(b) == 0 {
		return nil, fact{}, errRow
	}
	r := &reader{b: b[1:]}
	f := fact{copy: copyKind(b[0] & 3)}
	f.story, f.typ = storyNum(r.uint()), nameNum(r.uint())
	return r, f, r.err()
}

func decodeEvent(b []byte) (eventRow, error) {
	r, f, err := readFact(b)
	if err != nil {
		return eventRow{}, err
	}
	e := eventRow{fact: f, foreign: b[0]&flagForeign != 0}
	e.source, e.reaction = nameNum(r.uint()), nameNum(r.uint())
	e.time = r.time()
	e.id, e.causation, e.subject = r.string(), r.string(), r.string()
	return e, r.err()
}

// storyRow is a story as the index has it.
type storyRow struct {
	standing
	correlation string
	root        string // id of its first event
	rows        uint32 // rows under it: events and copies
	first, last time.Time
	through     []place // after the last event of each partition
	listed      bool    // it is in the bucket of those that are due
	counted     class   // as what it is counted in the statistics, as of the last commit
	dirty       bool
}

const (
	flagTelling = 1 << iota
	flagSettled
	flagFresh
	flagListed
)

func bit(on bool, b uint64) uint64 {
	if on {
		return b
	}
	return 0
}

func (s *storyRow) encode() []byte {
	w := writer{make([]byte, 0, 64+len(s.correlation)+len(s.root))}
	w.uint(bit(s.telling, flagTelling) | bit(s.settled, flagSettled) | bit(s.fresh, flagFresh) | bit(s.listed, flagListed))
	w.uint(uint64(s.events))
	w.int(int64(s.open))
	w.uint(uint64(s.episode))
	w.uint(uint64(s.rows))
	w.string(s.correlation)
	w.string(s.root)
	w.time(s.first)
	w.time(s.last)
	for _, p := range s.through {
		w.uint(uint64(p.topic))
		w.uint(uint64(p.partition.partition))
		w.int(p.offset)
	}
	return w.b
}

func decodeStory(b []byte) (*storyRow, error) {
	r := &reader{b: b}
	s := new(storyRow)
	flags := r.uint()
	s.telling, s.settled = flags&flagTelling != 0, flags&flagSettled != 0
	s.fresh, s.listed = flags&flagFresh != 0, flags&flagListed != 0
	s.events, s.open, s.episode = int(r.uint()), int(r.int()), int(r.uint())
	s.rows = uint32(r.uint())
	s.correlation, s.root = r.string(), r.string()
	s.first, s.last = r.time(), r.time()
	for r.more() {
		s.through = append(s.through, place{partition{topicNum(r.uint()), int32(r.uint())}, r.int()})
	}
	s.counted = s.class()
	return s, r.err()
}

// class is what a story counts as.
type class uint8

const (
	classNone    class = iota // it has no event of ours: nobody waits for it
	classOpen                 // something is owed, or its settling is not told yet
	classSettled              // tidings.story says that it has settled, and it is still so
)

func (s *standing) class() class {
	switch {
	case !s.telling:
		return classNone
	case s.settled && s.fresh && s.open == 0:
		return classSettled
	default:
		return classOpen
	}
}

// reach moves through past a record.
func (s *storyRow) reach(at place) {
	for i := range s.through {
		if s.through[i].partition == at.partition {
			s.through[i].offset = max(s.through[i].offset, at.offset+1)
			return
		}
	}
	at.offset++
	s.through = append(s.through, at)
}

func (c *coverage) encode() []byte {
	w := writer{make([]byte, 0, 16+8*len(c.done))}
	w.int(c.epoch)
	w.int(c.position)
	w.uint(uint64(len(c.done)))
	last := int64(0)
	for _, r := range c.done {
		w.int(r.Lo - last)
		w.int(r.Hi - r.Lo)
		last = r.Hi
	}
	for _, g := range c.sought {
		w.int(g.Lo)
		w.int(g.Hi)
		w.string(g.who)
		w.time(g.at)
	}
	return w.b
}

func decodeCoverage(b []byte) (*coverage, error) {
	r := &reader{b: b}
	c := &coverage{epoch: r.int(), position: r.int()}
	last := int64(0)
	for n := r.uint(); n > 0 && !r.bad; n-- {
		lo := last + r.int()
		last = lo + r.int()
		c.done = append(c.done, obligation.Range{Lo: lo, Hi: last})
	}
	for r.more() {
		c.sought = append(c.sought, gap{obligation.Range{Lo: r.int(), Hi: r.int()}, r.string(), r.time()})
	}
	return c, r.err()
}

// note is something that a reaction told of one event besides having done it.
type note struct {
	kind     noteKind
	order    int64 // offset of the record that said so, in tidings.reactions: later ones are newer
	attempts int
	text     string
	at, next time.Time
}

type noteKind uint8

const (
	noteSkipped noteKind = 1 + iota
	noteRetried
	noteRetrying
	noteDuplicate
)

func (n *note) encode() []byte {
	w := writer{make([]byte, 0, 24+len(n.text))}
	w.uint(uint64(n.kind))
	w.int(n.order)
	w.uint(uint64(n.attempts))
	w.string(n.text)
	w.time(n.at)
	w.time(n.next)
	return w.b
}

func decodeNote(b []byte) (note, error) {
	r := &reader{b: b}
	n := note{kind: noteKind(r.uint()), order: r.int(), attempts: int(r.uint()), text: r.string(), at: r.time(), next: r.time()}
	return n, r.err()
}

package story

import (
	"encoding/binary"
	"fmt"
	"time"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/fields"
	"tidings.dev/internal/offsets"
)

// errRow is returned when a row cannot be decoded. It matches ErrDamaged. Rows are the values of the buckets of the
// index file (layout.go). A row is a sequence of fields without padding:
//
//	uint    uvarint, as in encoding/binary
//	int     zigzag varint, as in encoding/binary
//	string  length in bytes as uint, then the bytes
//	time    microseconds since 1970 as int, 0 for the zero time
var errRow = fmt.Errorf("%w: a row cannot be decoded", ErrDamaged)

// rowWriter encodes a row.
type rowWriter struct{ b []byte }

func (w *rowWriter) uint(n uint64)   { w.b = binary.AppendUvarint(w.b, n) }
func (w *rowWriter) int(n int64)     { w.b = binary.AppendVarint(w.b, n) }
func (w *rowWriter) string(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *rowWriter) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
	} else {
		w.int(t.UnixMicro())
	}
}

// offsets writes the number of ranges in a set, followed by two ints for each range: the distance from the end of the
// range before, and the length.
func (w *rowWriter) offsets(set *offsets.Set) {
	w.uint(uint64(set.Len()))
	last := int64(0)
	for _, r := range set.Ranges() {
		w.int(r.Lo - last)
		w.int(r.Hi - r.Lo)
		last = r.Hi
	}
}

// rowReader decodes the fields of a row in order. Its errors match errRow.
type rowReader struct{ fields.Reader }

func newRowReader(row []byte) *rowReader { return &rowReader{fields.NewReader(row, errRow)} }

// time reads a time. The result is in UTC.
func (r *rowReader) time() time.Time {
	if us := r.Varint(); us != 0 {
		return time.UnixMicro(us).UTC()
	}
	return time.Time{}
}

// offsets reads a set that rowWriter.offsets has written.
func (r *rowReader) offsets() (set offsets.Set) {
	last := int64(0)
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		lo := last + r.Varint()
		last = lo + r.Varint()
		set.Add(lo, last)
	}
	return set
}

// eventRow is a row of the bucket events, which describes one record of an application:
//
//	│ flags 1 │ story uint │ type uint │ source uint │ reaction uint │ time │ id string │ causation string │ subject string │ identity 16 │
//	└────────── eventHead ─────────────┘
//
// A scan that needs only the head decodes no more. The identity is present if the copyKind is not onlyCopy.
type eventRow struct {
	eventHead
	foreign   bool // the record has no event id; its location serves as id
	source    nameNum
	reaction  nameNum // reaction that emitted the event; 0 if the event is a root emission
	time      time.Time
	id        string // empty if foreign
	causation string
	subject   string
	identity  cloudevent.Identity // zero if copy is onlyCopy
}

// Bits of the flags byte of an eventRow.
const (
	flagCopyKind = 3 // mask for the copyKind
	flagForeign  = 1 << 2
)

func (e *eventRow) encode() []byte {
	w := rowWriter{make([]byte, 0, 64+len(e.id)+len(e.causation)+len(e.subject))}
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
	if e.copy != onlyCopy {
		w.b = append(w.b, e.identity[:]...)
	}
	return w.b
}

// decodeEventHead decodes the head of an eventRow.
func decodeEventHead(b []byte) (eventHead, error) {
	_, e, err := readEventHead(b)
	return e, err
}

// readEventHead decodes the head of an eventRow, and also returns a reader of the fields after it.
func readEventHead(b []byte) (*rowReader, eventHead, error) {
	if len(b) == 0 {
		return nil, eventHead{}, errRow
	}
	r := newRowReader(b[1:])
	e := eventHead{copy: copyKind(b[0] & flagCopyKind)}
	e.story, e.typ = storyNum(r.Uvarint()), nameNum(r.Uvarint())
	return r, e, r.Err()
}

func decodeEvent(b []byte) (eventRow, error) {
	r, head, err := readEventHead(b)
	if err != nil {
		return eventRow{}, err
	}
	e := eventRow{eventHead: head, foreign: b[0]&flagForeign != 0}
	e.source, e.reaction = nameNum(r.Uvarint()), nameNum(r.Uvarint())
	e.time = r.time()
	e.id, e.causation, e.subject = r.Text(), r.Text(), r.Text()
	if e.copy != onlyCopy {
		copy(e.identity[:], r.Take(len(e.identity)))
	}
	return e, r.Err()
}

// storyRow is a row of the bucket stories, which describes one story:
//
//	│ flags uint │ events uint │ open int │ episode uint │ rows uint │ correlation string │ root string │ first time │ last time │
//	│ topic uint │ partition uint │ offset int │ … one triple for each partition of through
type storyRow struct {
	standing
	correlation string
	root        string // id of the root event; until the root is read, id of the first event that was read
	rows        uint32 // number of records of the story, numbered [0, rows) in the bucket storyevents
	first, last time.Time
	through     []location // for each partition with an event of the story, the offset after the last such event

	listed  bool  // the story is in the bucket due
	counted class // class under which Stats counts the story, as of the last commit
	dirty   bool  // in memory only: the row has changed, and the story is in writeTx.dirty
}

// Bits of the flags of a storyRow.
const (
	flagPublishable = 1 << iota
	flagSettled
	flagCurrent
	flagListed
	flagRooted
	flagJoined
)

// flagIf returns flag if on is true, and 0 otherwise.
func flagIf(on bool, flag uint64) uint64 {
	if on {
		return flag
	}
	return 0
}

func (s *storyRow) encode() []byte {
	w := rowWriter{make([]byte, 0, 64+len(s.correlation)+len(s.root))}
	w.uint(flagIf(s.publishable, flagPublishable) | flagIf(s.settled, flagSettled) | flagIf(s.current, flagCurrent) | flagIf(s.listed, flagListed) |
		flagIf(s.rooted, flagRooted) | flagIf(s.joined, flagJoined))
	w.uint(uint64(s.events))
	w.int(int64(s.open))
	w.uint(uint64(s.episode))
	w.uint(uint64(s.rows))
	w.string(s.correlation)
	w.string(s.root)
	w.time(s.first)
	w.time(s.last)
	for _, at := range s.through {
		w.uint(uint64(at.topic))
		w.uint(uint64(at.partition.partition))
		w.int(at.offset)
	}
	return w.b
}

func decodeStory(b []byte) (*storyRow, error) {
	r := newRowReader(b)
	s := new(storyRow)
	flags := r.Uvarint()
	s.publishable, s.settled = flags&flagPublishable != 0, flags&flagSettled != 0
	s.current, s.listed = flags&flagCurrent != 0, flags&flagListed != 0
	s.rooted, s.joined = flags&flagRooted != 0, flags&flagJoined != 0
	s.events, s.open, s.episode = int(r.Uvarint()), int(r.Varint()), int(r.Uvarint())
	s.rows = uint32(r.Uvarint())
	s.correlation, s.root = r.Text(), r.Text()
	s.first, s.last = r.time(), r.time()
	for r.Len() > 0 {
		s.through = append(s.through, location{partition{topicNum(r.Uvarint()), int32(r.Uvarint())}, r.Varint()})
	}
	s.counted = s.class()
	return s, r.Err()
}

// extendThrough updates through for an event of the story at a location.
func (s *storyRow) extendThrough(at location) {
	for i := range s.through {
		if s.through[i].partition == at.partition {
			s.through[i].offset = max(s.through[i].offset, at.offset+1)
			return
		}
	}
	at.offset++
	s.through = append(s.through, at)
}

// class says how Stats counts a story.
type class uint8

const (
	// classNone is the class of a story that has no event with an id; it counts neither as open nor as settled.
	classNone class = iota
	// classOpen is the class of a story with an open obligation, or without a story.settled that still holds.
	classOpen
	// classSettled is the class of a story for which tidings.story has a story.settled that still holds.
	classSettled
)

func (s *standing) class() class {
	switch {
	case !s.publishable:
		return classNone
	case s.settled && s.current && s.open == 0:
		return classSettled
	default:
		return classOpen
	}
}

// known returns the Standing of a story by its row alone, without regard to what the brokers know (Live).
func (s *standing) known() Standing {
	switch {
	case s.open > 0:
		return StandingOpen
	case s.settled && s.current:
		return StandingSettled
	default:
		return StandingQuiet
	}
}

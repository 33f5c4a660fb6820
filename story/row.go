package story

import (
	"encoding/binary"
	"fmt"
	"time"

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

// storyRow is a row of the bucket stories, which describes one story:
//
//	│ flags uint │ events uint │ open int │ episode uint │ rows uint │ gone uint │ correlation name │ root name │ first int │ last int │
//	│ subject name │ trace 8 │ locations of recent │ topic uint │ partition uint │ offset int │ … one triple for each partition of through
//
// The root may be the correlation. The times are microseconds since 1970; last is the difference from first. The trace is there if
// the flags say so. The number of locations follows from rows; through is there if recent does not have all records.
type storyRow struct {
	standing
	correlation string
	root        string // id of the root event; until the root is read, id of the first event that was read
	subject     string // of the first event that was read
	rows        uint32 // number of records of the story, with those that were forgotten
	gone        uint32 // number of them that were forgotten
	first, last time.Time
	subjects    bool       // an event had another subject
	traced      bool       // an event had a trace id
	trace       uint64     // hash of the last trace id
	recent      []location // of the last records, fewer than storyGroup (storyrows.go)
	through     []location // for each partition with an event of the story, the offset after the last such event

	listed  bool  // the story is in the bucket due
	counted class // class under which Stats counts the story, as of the last commit

	// The following are in memory only.
	dirty    bool     // the row has changed, and the story is in writeTx.dirty
	idHashes []uint64 // hashes of the ids of the last records, as far as they were read since the row was; 0: it has no id
}

// Bits of the flags of a storyRow.
const (
	flagPublishable = 1 << iota
	flagSettled
	flagCurrent
	flagListed
	flagRooted
	flagJoined
	flagTraced
	flagSubjects
)

// flagIf returns flag if on is true, and 0 otherwise.
func flagIf(on bool, flag uint64) uint64 {
	if on {
		return flag
	}
	return 0
}

func (s *storyRow) encode() []byte { return s.appendTo(nil) }

// appendTo appends the row to b.
func (s *storyRow) appendTo(b []byte) []byte {
	w := rowWriter{b}
	w.uint(flagIf(s.publishable, flagPublishable) | flagIf(s.settled, flagSettled) | flagIf(s.current, flagCurrent) | flagIf(s.listed, flagListed) |
		flagIf(s.rooted, flagRooted) | flagIf(s.joined, flagJoined) | flagIf(s.traced, flagTraced) | flagIf(s.subjects, flagSubjects))
	w.uint(uint64(s.events))
	w.int(int64(s.open))
	w.uint(uint64(s.episode))
	w.uint(uint64(s.rows))
	w.uint(uint64(s.gone))
	w.name(s.correlation, "")
	w.name(s.root, s.correlation)
	w.int(s.first.UnixMicro())
	w.int(s.last.UnixMicro() - s.first.UnixMicro())
	w.name(s.subject, "")
	if s.traced {
		w.b = binary.BigEndian.AppendUint64(w.b, s.trace)
	}
	w.locations(s.recent)
	if s.rows >= storyGroup {
		for _, at := range s.through {
			w.uint(uint64(at.topic))
			w.uint(uint64(at.partition.partition))
			w.int(at.offset)
		}
	}
	return w.b
}

func decodeStory(b []byte) (*storyRow, error) {
	r := newRowReader(b)
	s := new(storyRow)
	flags := r.Uvarint()
	s.publishable, s.settled = flags&flagPublishable != 0, flags&flagSettled != 0
	s.current, s.listed = flags&flagCurrent != 0, flags&flagListed != 0
	s.rooted, s.joined, s.traced = flags&flagRooted != 0, flags&flagJoined != 0, flags&flagTraced != 0
	s.events, s.open, s.episode = int(r.Uvarint()), int(r.Varint()), int(r.Uvarint())
	s.rows, s.gone = uint32(r.Uvarint()), uint32(r.Uvarint())
	s.subjects = flags&flagSubjects != 0
	s.correlation = r.name("")
	s.root = r.name(s.correlation)
	first := r.Varint()
	s.first, s.last = time.UnixMicro(first).UTC(), time.UnixMicro(first+r.Varint()).UTC()
	s.subject = r.name("")
	if s.traced {
		s.trace = r.Uint64()
	}
	s.recent = r.locations(int(s.rows % storyGroup))
	if s.rows < storyGroup {
		for _, at := range s.recent {
			s.extendThrough(at)
		}
	}
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

package story

import (
	"encoding/binary"
	"math"
	"time"
)

// The bucket events has one row for the events at each blockEvents offsets of a partition, so that an event costs little more
// than what is new in it. A row, which is called a block, is a sequence of entries, in the order of offsets:
//
//	│ place 1 │ story int │ type uint │ time int │ length of the rest uint │ rest │
//	place   offset in the block, copyKind << 4, foreign << 6
//	story, time in microseconds   the difference from those of the entry before; of the first entry, from 0
//
//	rest:   │ source uint │ reaction uint │ id name │ causation name │ subject name │
//	        ids and causations may be the correlation of the story, subjects its subject; a causation may be a reference:
//	        │ formCause 1 │ number of the record in the story uint │
//
// A scan decodes only what the judge needs (eventHead).
const (
	blockBits   = 4
	blockEvents = 1 << blockBits

	placeCopyShift = blockBits
	placeCopyMask  = 3 << placeCopyShift
	placeForeign   = 1 << 6
)

// eventRow describes one record of an application.
type eventRow struct {
	eventHead
	foreign   bool // the record has no event id; its location serves as id
	source    nameNum
	reaction  nameNum // reaction that emitted the event; 0 if the event is a root emission
	time      time.Time
	id        string // empty if foreign
	causation string // empty if cause is not 0
	cause     uint32 // the number in the story, from 1, of a record that has the causation as its id; 0: not known
	subject   string
}

// eventBlock is the row of the offsets from first on.
type eventBlock struct {
	row   []byte
	story storyNum // of the last entry
	at    int64    // time of the last entry, in microseconds
	dirty bool     // the row has not been written
}

// append adds an event, which must have a higher offset than those in the block. s is its story.
func (b *eventBlock) append(offset int64, e *eventRow, s *storyRow) {
	w := rowWriter{b.row}
	place := byte(offset&(blockEvents-1)) | byte(e.copy)<<placeCopyShift
	if e.foreign {
		place |= placeForeign
	}
	w.b = append(w.b, place)
	at := e.time.UnixMicro()
	w.int(int64(e.story) - int64(b.story))
	w.uint(uint64(e.typ))
	w.int(at - b.at)
	var room [128]byte
	rest := rowWriter{room[:0]}
	rest.uint(uint64(e.source))
	rest.uint(uint64(e.reaction))
	rest.name(e.id, s.correlation)
	if e.cause > 0 {
		rest.b = append(rest.b, formCause)
		rest.uint(uint64(e.cause))
	} else {
		rest.name(e.causation, s.correlation)
	}
	rest.name(e.subject, s.subject)
	w.uint(uint64(len(rest.b)))
	b.row = append(w.b, rest.b...)
	b.story, b.at, b.dirty = e.story, at, true
}

// mark changes the copyKind of the event at an offset. It reports whether the event is there.
func (b *eventBlock) mark(offset int64, kind copyKind) (ok bool) {
	row := append(make([]byte, 0, cap(b.row)), b.row...) // bbolt may have the row
	for r := newBlockReader(row); r.next(); {
		if int64(r.place&(blockEvents-1)) == offset&(blockEvents-1) {
			row[r.from] = row[r.from]&^placeCopyMask | byte(kind)<<placeCopyShift
			b.row, b.dirty = row, true
			return true
		}
	}
	return false
}

// openBlock returns the block with the given row, to which events can be added.
func openBlock(row []byte) (*eventBlock, error) {
	b := &eventBlock{row: append(make([]byte, 0, 1024), row...)}
	r := newBlockReader(row)
	for r.next() {
		b.story, b.at = r.head.story, r.at
	}
	return b, r.Err()
}

// blockReader reads the entries of a block in order.
type blockReader struct {
	rowReader
	whole int
	from  int // where the entry begins in the row
	place byte
	head  eventHead
	at    int64
	rest  []byte
}

func newBlockReader(row []byte) *blockReader {
	return &blockReader{rowReader: *newRowReader(row), whole: len(row)}
}

// next reads the next entry, and reports whether there is one.
func (r *blockReader) next() bool {
	if r.Len() == 0 {
		return false
	}
	r.from = r.whole - r.Len()
	r.place = r.Byte()
	r.head.story += storyNum(r.Varint())
	r.head.typ = nameNum(r.Uvarint())
	r.head.copy = copyKind(r.place & placeCopyMask >> placeCopyShift)
	r.at += r.Varint()
	r.rest = r.Take(r.Count(1))
	return r.OK()
}

// event decodes the entry that was read. s is the row of its story.
func (r *blockReader) event(s *storyRow) (eventRow, error) {
	e := eventRow{eventHead: r.head, foreign: r.place&placeForeign != 0, time: time.UnixMicro(r.at).UTC()}
	rest := newRowReader(r.rest)
	e.source, e.reaction = nameNum(rest.Uvarint()), nameNum(rest.Uvarint())
	e.id = rest.name(s.correlation)
	if next := rest.Rest(); len(next) > 0 && next[0] == formCause {
		rest.Byte()
		e.cause = uint32(rest.UvarintUpTo(math.MaxUint32))
	} else {
		e.causation = rest.name(s.correlation)
	}
	e.subject = rest.name(s.subject)
	return e, rest.End()
}

// seek reads up to the entry of an offset. It reports whether there is one.
func (r *blockReader) seek(offset int64) bool {
	for r.next() {
		if int64(r.place&(blockEvents-1)) == offset&(blockEvents-1) {
			return true
		}
	}
	return false
}

// blockKey returns the key of the block that has a location.
func blockKey(at location) []byte {
	return binary.BigEndian.AppendUint64(partitionKey(at.partition), uint64(at.offset>>blockBits))
}

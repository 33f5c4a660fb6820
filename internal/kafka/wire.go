package kafka

import (
	"encoding/binary"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// decoder reads the primitives of the protocol from a frame, without copying. The first malformed field makes every
// later read return zero values and ok() false; lengths are checked against what is left before anything is sized by
// them.
type decoder struct {
	rest     []byte
	flexible bool // compact lengths and tags
	bad      bool
}

func (d *decoder) ok() bool { return !d.bad }

// done reports whether everything was well formed and nothing is left over.
func (d *decoder) done() bool { return !d.bad && len(d.rest) == 0 }

// take returns the next n bytes, aliasing the frame, or nil.
func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) int8() int8 {
	if b := d.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (d *decoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) topicID() (id meta.TopicID) {
	copy(id[:], d.take(len(id)))
	return id
}

// uvarint reads an unsigned varint of at most 32 bits in at most 5 bytes.
func (d *decoder) uvarint() uint32 {
	v, n := binary.Uvarint(d.rest[:min(len(d.rest), 5)])
	if d.bad || n <= 0 || v > 1<<32-1 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return uint32(v)
}

// length reads the length of a string: compact, or of 16 bits. -1 is null.
func (d *decoder) length() int {
	if d.flexible {
		return int(d.uvarint()) - 1
	}
	return int(d.int16())
}

// longLength reads the length of bytes or an array: compact, or of 32 bits. -1 is null.
func (d *decoder) longLength() int {
	if d.flexible {
		return int(d.uvarint()) - 1
	}
	return int(d.int32())
}

// str reads a string that may not be null.
func (d *decoder) str() []byte { return d.take(d.length()) }

// nullableStr reads a string; null gives nil, an empty string does not.
func (d *decoder) nullableStr() []byte {
	n := d.length()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

// nullableBytes reads bytes; null gives nil, empty bytes do not.
func (d *decoder) nullableBytes() []byte {
	n := d.longLength()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

// array reads the length of an array whose elements take at least elementBytes each, so that a length that cannot be
// true is refused before anyone loops over it or makes room for it. null gives 0.
func (d *decoder) array(elementBytes int) int {
	n := d.longLength()
	if n == -1 {
		return 0
	}
	if n < 0 || n > len(d.rest)/elementBytes {
		d.bad, d.rest = true, nil
		return 0
	}
	return n
}

// skipTags passes over the tagged fields at the end of a structure in a flexible version.
func (d *decoder) skipTags() {
	if !d.flexible {
		return
	}
	// Each tag takes two bytes at least, so the loop ends with the frame, whatever the count says.
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		d.uvarint()
		d.take(int(d.uvarint()))
	}
}

// encoder builds response frames. Large record bytes are not copied into it: they are attached, and written between
// the encoder's own bytes by one writev, or by sendfile if they are in a file.
type encoder struct {
	buf      []byte
	parts    []attachment
	start    int // where the current frame's size stands
	attached int // bytes attached to the current frame
	flexible bool
}

// attachment is a run of bytes that belongs before buf[at].
type attachment struct {
	at     int
	data   []byte
	stored *engine.OpenStored // instead of data
}

func (a *attachment) sizeBytes() int {
	if a.stored != nil {
		return a.stored.SizeBytes()
	}
	return len(a.data)
}

// copyBelowBytes is the size under which attaching costs more than copying.
const copyBelowBytes = 4 << 10

// begin starts a frame:
//
//	+--------+-------------+-- header v1 only --+------
//	| size 4 | correlation |  tags: uvarint 0   | body
//	+--------+-------------+--------------------+------
//
// flexible is of the body; the header of ApiVersions stays at v0 in every version, so that a client that does not know
// yet what the broker speaks can read it (KIP-511).
func (e *encoder) begin(correlation int32, flexible, headerTags bool) {
	e.start, e.attached, e.flexible = len(e.buf), 0, flexible
	e.buf = append(e.buf, 0, 0, 0, 0)
	e.int32(correlation)
	if headerTags {
		e.buf = append(e.buf, 0)
	}
}

// end fills in the size of the frame.
func (e *encoder) end() {
	binary.BigEndian.PutUint32(e.buf[e.start:], uint32(len(e.buf)-e.start-4+e.attached))
}

func (e *encoder) int16(v int16)           { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *encoder) int32(v int32)           { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *encoder) int64(v int64)           { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }
func (e *encoder) uvarint(v int)           { e.buf = binary.AppendUvarint(e.buf, uint64(v)) }
func (e *encoder) topicID(id meta.TopicID) { e.buf = append(e.buf, id[:]...) }

func (e *encoder) str(s []byte) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

// nullableStr writes s, or null for the empty string.
func (e *encoder) nullableStr(s string) {
	switch {
	case s == "" && e.flexible:
		e.uvarint(0)
		return
	case s == "":
		e.int16(-1)
		return
	case e.flexible:
		e.uvarint(len(s) + 1)
	default:
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

// array writes the length of an array, or of bytes that follow by attach; -1 writes null.
func (e *encoder) array(n int) {
	if e.flexible {
		e.uvarint(n + 1)
	} else {
		e.int32(int32(n))
	}
}

// noTags ends a structure without tagged fields.
func (e *encoder) noTags() {
	if e.flexible {
		e.buf = append(e.buf, 0)
	}
}

// attach adds bytes to the frame. data must not change until the frame is written.
func (e *encoder) attach(data []byte) {
	if len(data) < copyBelowBytes {
		e.buf = append(e.buf, data...)
		return
	}
	e.add(attachment{at: len(e.buf), data: data})
}

// attachStored adds bytes of a file to the frame, which closes it when it is written.
func (e *encoder) attachStored(stored *engine.OpenStored) {
	e.add(attachment{at: len(e.buf), stored: stored})
}

func (e *encoder) add(a attachment) {
	e.parts = append(e.parts, a)
	e.attached += a.sizeBytes()
}

// size returns the bytes of all frames so far, attachments included.
func (e *encoder) size() int {
	n := len(e.buf)
	for i := range e.parts {
		n += e.parts[i].sizeBytes()
	}
	return n
}

// keepEncoderBytes is the largest buffer that an idle connection keeps for its next answers.
const keepEncoderBytes = 64 << 10

// reset forgets the frames and everything they referred to.
func (e *encoder) reset() {
	if cap(e.buf) > keepEncoderBytes {
		e.buf = nil
	}
	e.buf = e.buf[:0]
	for i := range e.parts {
		if stored := e.parts[i].stored; stored != nil {
			stored.Close()
		}
	}
	clear(e.parts)
	e.parts = e.parts[:0]
}

package kafka

import (
	"encoding/binary"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// requestDecoder decodes the primitive types of the Kafka protocol from the bytes of a request. Byte slices that it
// returns alias those bytes. After the first malformed field, ok returns false and every read returns a zero value.
// Lengths are checked against the number of remaining bytes, so that a caller may allocate by them.
type requestDecoder struct {
	rest     []byte // not decoded yet
	flexible bool   // the version has compact lengths and tagged fields (KIP-482)
	bad      bool   // a malformed field was read
}

// ok reports whether all fields read so far were well-formed.
func (d *requestDecoder) ok() bool { return !d.bad }

// take returns the next n bytes. If n is negative or fewer bytes remain, it returns nil and marks the request as
// malformed.
func (d *requestDecoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *requestDecoder) int8() int8 {
	if b := d.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (d *requestDecoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *requestDecoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *requestDecoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *requestDecoder) topicID() (id meta.TopicID) {
	copy(id[:], d.take(len(id)))
	return id
}

// uvarint reads an unsigned varint of at most 5 bytes and 32 bits.
func (d *requestDecoder) uvarint() uint32 {
	v, n := binary.Uvarint(d.rest[:min(len(d.rest), 5)])
	if d.bad || n <= 0 || v > 1<<32-1 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return uint32(v)
}

// length reads the length of a string: in flexible versions an unsigned varint of the length plus 1, else an int16. It
// returns -1 for a null string.
func (d *requestDecoder) length() int {
	if d.flexible {
		return int(d.uvarint()) - 1
	}
	return int(d.int16())
}

// longLength reads the length of a bytes field or of an array: in flexible versions an unsigned varint of the length
// plus 1, else an int32. It returns -1 for null.
func (d *requestDecoder) longLength() int {
	if d.flexible {
		return int(d.uvarint()) - 1
	}
	return int(d.int32())
}

// str reads a string. A null string is malformed.
func (d *requestDecoder) str() []byte { return d.take(d.length()) }

// nullableStr reads a string that may be null. It returns nil for null, and a non-nil slice for an empty string.
func (d *requestDecoder) nullableStr() []byte {
	n := d.length()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

// nullableBytes reads a bytes field that may be null. It returns nil for null, and a non-nil slice for an empty field.
func (d *requestDecoder) nullableBytes() []byte {
	n := d.longLength()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

// array reads the length of an array and returns the number of its elements; 0 for a null array. elementBytes is the
// least number of bytes that an element takes: a length for which too few bytes remain is malformed, so that the caller
// may loop over it or allocate by it.
func (d *requestDecoder) array(elementBytes int) int {
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

// skipTags skips the tagged fields at the end of a structure. Versions that are not flexible have none.
func (d *requestDecoder) skipTags() {
	if !d.flexible {
		return
	}
	// Each tag takes at least two bytes, so the loop ends with the request even if n is larger than any number of tags
	// in it.
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		d.uvarint()
		d.take(int(d.uvarint()))
	}
}

// responseEncoder encodes response frames into a buffer. Record batches of copyBelowBytes or more are not copied into
// the buffer but attached: responseWriter.write sends them between the bytes of the buffer, by writev, or by sendfile
// if they are in a file. The zero value is ready to use; begin starts a frame.
type responseEncoder struct {
	buf      []byte
	parts    []attachment
	start    int  // index in buf at which the current frame begins
	attached int  // number of bytes attached to the current frame
	flexible bool // the current frame has compact lengths and tagged fields
}

// attachment is a run of bytes that is sent before buf[at] of a responseEncoder.
type attachment struct {
	at     int
	data   []byte
	stored *engine.OpenStored // if not nil, the bytes are in this file, and data is nil
}

// sizeBytes returns the length of the attachment in bytes.
func (a *attachment) sizeBytes() int {
	if a.stored != nil {
		return a.stored.SizeBytes()
	}
	return len(a.data)
}

// copyBelowBytes is the size below which record bytes are copied instead of attached, because a copy costs less.
const copyBelowBytes = 4 << 10

// begin starts a frame. The caller encodes the body, and then calls end.
//
//	+--------+-------------+-- header v1 only --+------
//	| size 4 | correlation |  tags: uvarint 0   | body
//	+--------+-------------+--------------------+------
//
// flexible reports whether the body has compact lengths and tagged fields, and headerTags whether the header has
// version 1. The header of an ApiVersions response has version 0 in every version of the API, so that a client can read
// it before it knows the broker's versions (KIP-511; docs/kafka-traps.md, trap 1).
func (e *responseEncoder) begin(correlation int32, flexible, headerTags bool) {
	e.start, e.attached, e.flexible = len(e.buf), 0, flexible
	e.buf = append(e.buf, 0, 0, 0, 0)
	e.int32(correlation)
	if headerTags {
		e.buf = append(e.buf, 0)
	}
}

// end completes the frame: it sets the frame's size field.
func (e *responseEncoder) end() {
	binary.BigEndian.PutUint32(e.buf[e.start:], uint32(len(e.buf)-e.start-4+e.attached))
}

func (e *responseEncoder) int16(v int16)           { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *responseEncoder) int32(v int32)           { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *responseEncoder) int64(v int64)           { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }
func (e *responseEncoder) uvarint(v int)           { e.buf = binary.AppendUvarint(e.buf, uint64(v)) }
func (e *responseEncoder) topicID(id meta.TopicID) { e.buf = append(e.buf, id[:]...) }

// str encodes a string.
func (e *responseEncoder) str(s []byte) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

// nullableStr encodes a string; the empty string is encoded as null.
func (e *responseEncoder) nullableStr(s string) {
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

// array encodes the length of an array, or of a bytes field whose content the caller attaches next. n = -1 encodes
// null.
func (e *responseEncoder) array(n int) {
	if e.flexible {
		e.uvarint(n + 1)
	} else {
		e.int32(int32(n))
	}
}

// noTags ends a structure without tagged fields. In versions that are not flexible it encodes nothing.
func (e *responseEncoder) noTags() {
	if e.flexible {
		e.buf = append(e.buf, 0)
	}
}

// attach adds bytes to the frame. Unless data is short, the encoder refers to it, and data must not change until reset.
func (e *responseEncoder) attach(data []byte) {
	if len(data) < copyBelowBytes {
		e.buf = append(e.buf, data...)
		return
	}
	e.add(attachment{at: len(e.buf), data: data})
}

// attachStored adds bytes of a file to the frame. The encoder owns stored from now on; reset closes it.
func (e *responseEncoder) attachStored(stored *engine.OpenStored) {
	e.add(attachment{at: len(e.buf), stored: stored})
}

// add adds an attachment to the frame.
func (e *responseEncoder) add(a attachment) {
	e.parts = append(e.parts, a)
	e.attached += a.sizeBytes()
}

// size returns the number of bytes in all frames since reset, including attachments.
func (e *responseEncoder) size() int {
	n := len(e.buf)
	for i := range e.parts {
		n += e.parts[i].sizeBytes()
	}
	return n
}

// keepEncoderBytes is the capacity up to which reset keeps the encoder's buffer for the next responses.
const keepEncoderBytes = 64 << 10

// reset removes all frames, and closes the files that were attached.
func (e *responseEncoder) reset() {
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

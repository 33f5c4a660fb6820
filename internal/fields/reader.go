// Package fields reads binary records field by field, in the order in which the fields were written. The caller need
// not check for an error after each field: the first malformed field ends the reading, and the caller asks once, at
// the end, whether there was one.
//
// The package is for records on disk and in the log. It reads varints (unsigned LEB128, with zigzag encoding where a
// value may be negative), big-endian integers of fixed width, and bytes preceded by their length. Two other packages
// have readers of their own: internal/batch, which needs the speed of a scan and its position in the batch, and
// internal/kafka, which reads the types of the Kafka protocol, whose lengths differ by API version and may be null.
package fields

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Reader reads fields from the beginning of a record. Once a field is malformed, because it is cut short or out of
// bounds, the rest of the record is dropped, every read returns a zero value, and Err returns an error. So a loop over
// Count entries ends, but a caller that allocates memory or indexes a slice by a value it has read must check the
// value itself.
//
// Slices that a Reader returns share memory with the record. A Reader is not safe for concurrent use. The zero Reader
// has nothing to read.
type Reader struct {
	rest []byte
	kind error // every error matches it; nil if there is none to match
	err  error
}

// NewReader returns a reader of record, which must not change while it is read. Its errors match kind.
func NewReader(record []byte, kind error) Reader { return Reader{rest: record, kind: kind} }

// Fail marks the record as malformed: Err returns an error with the given text, and nothing is left to read. If an
// earlier field was malformed, Err keeps its error. A caller uses Fail when it has read a value that is not valid. The
// arguments are those of fmt.Errorf.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		if r.kind != nil {
			r.err = fmt.Errorf("%w: %w", r.kind, r.err)
		}
	}
	r.rest = nil
}

// OK reports whether all fields that were read so far were well-formed.
func (r *Reader) OK() bool { return r.err == nil }

// Err returns the error of the first malformed field, or nil.
func (r *Reader) Err() error { return r.err }

// End returns an error if a field was malformed, or if there are bytes after the last field that was read, and
// otherwise nil.
func (r *Reader) End() error {
	if len(r.rest) > 0 {
		r.Fail("%d bytes too many", len(r.rest))
	}
	return r.err
}

// Len returns the number of bytes that have not been read.
func (r *Reader) Len() int { return len(r.rest) }

// Rest returns the bytes that have not been read, for another decoder, without reading them.
func (r *Reader) Rest() []byte { return r.rest }

// Take reads n bytes. It returns nil, and marks the record as malformed, if there are fewer or n is negative.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.Fail("cut short")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads a big-endian integer of 2 bytes.
func (r *Reader) Uint16() uint16 {
	if b := r.Take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads a big-endian integer of 4 bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.Take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads a big-endian integer of 8 bytes.
func (r *Reader) Uint64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Uvarint reads an unsigned varint.
func (r *Reader) Uvarint() uint64 { return r.UvarintUpTo(math.MaxUint64) }

// UvarintUpTo reads an unsigned varint. A value above limit is malformed.
func (r *Reader) UvarintUpTo(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > limit {
		r.Fail("bad number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Varint reads a zigzag varint.
func (r *Reader) Varint() int64 { return r.VarintIn(math.MinInt64, math.MaxInt64) }

// VarintIn reads a zigzag varint. A value outside [lo, hi] is malformed.
func (r *Reader) VarintIn(lo, hi int64) int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 || v < lo || v > hi {
		r.Fail("bad number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Count reads the number of entries that follow, which is an unsigned varint. Each entry takes at least minBytes,
// which must be positive. A count of more entries than there is room for is malformed, so that the caller does not
// allocate memory for it or loop over it.
func (r *Reader) Count(minBytes int) int {
	n := r.Uvarint()
	if n > uint64(len(r.rest)/minBytes) {
		r.Fail("%d entries in %d bytes", n, len(r.rest))
		return 0
	}
	return int(n)
}

// Bytes reads a length, which is an unsigned varint, and then that many bytes, which it returns without copying them.
func (r *Reader) Bytes() []byte { return r.Take(r.Count(1)) }

// Text reads a length, which is an unsigned varint, and then that many bytes, which it returns as a string.
func (r *Reader) Text() string { return string(r.Bytes()) }

package kafka

import (
	"errors"
	"fmt"
)

// Every request that kmsg decodes is first checked by the layout of its API and version, because kmsg trusts every
// count that it reads. A body of 6 bytes can announce 2^32-1 tags, over which kmsg loops for a minute; a body of 1 MiB
// can announce a million elements, for each of which kmsg allocates 80 bytes. The check allocates nothing, takes time
// in proportion to the size of the frame, and adds up the bytes that decoding would allocate. A request over its limit
// is refused.

// ErrMalformed matches the error for a request whose bytes do not have the layout of its API and version. It ends the
// connection.
var ErrMalformed = errors.New("kafka: malformed request")

// ErrRequestTooLarge matches the error for a request that is larger than the limit for its API, or would be when
// decoded. It ends the connection.
var ErrRequestTooLarge = errors.New("kafka: request over the size limit")

// kind is the primitive type of a field in a layout.
type kind uint8

const (
	fixed    kind = iota // a fixed number of bytes
	text                 // a string that must not be null
	nullText             // a string that may be null
	blob                 // a bytes field
	list                 // an array of structures, or of one primitive type
	optional             // a structure that may be null: a byte, which is -1 for null, and then the structure
)

// layoutField is one field of a layout. The field is present in the versions from since to until, inclusive.
type layoutField struct {
	kind         kind
	size         int // in bytes, of a field of kind fixed
	since, until int16
	element      *layoutStruct // the elements of a list, or the optional structure
	tagged       bool          // each element ends in tagged fields, in flexible versions
}

// layoutStruct is the layout of a structure: a sequence of fields. newLayoutStruct computes the sizes from the fields,
// so the fields must not be changed afterwards.
type layoutStruct struct {
	fields    []layoutField
	heapBytes int // memory of one decoded structure in bytes, without the strings and lists that it points to
	wireBytes int // the fewest bytes that one structure takes in a frame of any version; at least 1
}

// requestLayout is the layout of one API's requests.
type requestLayout struct {
	layoutStruct
	flexible int16 // the first version with compact lengths and tagged fields, or noVersion
}

// Fields of the primitive types, present in every version: integers and uuid by their size, then string, nullable
// string and bytes.
var (
	i8   = layoutField{kind: fixed, size: 1, until: noVersion}
	i16  = layoutField{kind: fixed, size: 2, until: noVersion}
	i32  = layoutField{kind: fixed, size: 4, until: noVersion}
	i64  = layoutField{kind: fixed, size: 8, until: noVersion}
	uuid = layoutField{kind: fixed, size: 16, until: noVersion}
	str  = layoutField{kind: text, until: noVersion}
	nstr = layoutField{kind: nullText, until: noVersion}
	byts = layoutField{kind: blob, until: noVersion}
)

// since returns a copy of f that is present from version v on.
func since(v int16, f layoutField) layoutField { f.since = v; return f }

// between returns a copy of f that is present in the versions from lo to hi, inclusive.
func between(lo, hi int16, f layoutField) layoutField { f.since, f.until = lo, hi; return f }

// structArray returns a field that is an array of structures with these fields. In flexible versions each structure
// ends in tagged fields.
func structArray(fields ...layoutField) layoutField {
	return layoutField{kind: list, until: noVersion, tagged: true, element: newLayoutStruct(fields)}
}

// optionalStruct returns a field that is null or a structure with these fields. In flexible versions the structure ends in
// tagged fields.
func optionalStruct(fields ...layoutField) layoutField {
	return layoutField{kind: optional, until: noVersion, tagged: true, element: newLayoutStruct(fields)}
}

// primitiveArray returns a field that is an array of one primitive type.
func primitiveArray(f layoutField) layoutField {
	return layoutField{kind: list, until: noVersion, element: newLayoutStruct([]layoutField{f})}
}

// newLayoutStruct returns the layout of a structure with these fields, and computes its sizes.
func newLayoutStruct(fields []layoutField) *layoutStruct {
	s := &layoutStruct{fields: fields, heapBytes: 8} // the pointer to the map of unknown tags
	for _, f := range fields {
		everywhere := f.since == 0 && f.until == noVersion
		switch f.kind {
		case fixed:
			s.heapBytes += max(f.size, 4)
			if everywhere {
				s.wireBytes += f.size
			}
			continue
		case text, nullText:
			s.heapBytes += 16
		case optional:
			s.heapBytes += 8
		case blob, list:
			s.heapBytes += 24
		}
		if everywhere {
			s.wireBytes++
		}
	}
	s.heapBytes = (s.heapBytes + 15) &^ 7
	s.wireBytes = max(s.wireBytes, 1)
	return s
}

// allocationBytes is the overhead counted for each separate allocation, in addition to its content.
const allocationBytes = 16

// tagBytes is counted for each unknown tag, which kmsg stores in a map. It covers the map, which kmsg makes for the
// first tag.
const tagBytes = 512

// requestChecker is the state of one check of a request.
type requestChecker struct {
	requestDecoder
	version         int16
	decodedBytes    int // memory that decoding would allocate for the part that was read so far
	maxDecodedBytes int // the limit of decodedBytes
}

// check returns nil if body is a well-formed request of this version and decoding it would allocate at most
// maxDecodedBytes bytes. Otherwise the error matches ErrMalformed or ErrRequestTooLarge.
func (l *requestLayout) check(body []byte, version int16, maxDecodedBytes int) error {
	w := requestChecker{
		requestDecoder: requestDecoder{rest: body, flexible: version >= l.flexible},
		version:        version, decodedBytes: l.heapBytes, maxDecodedBytes: maxDecodedBytes,
	}
	w.checkStruct(&l.layoutStruct, true)
	switch {
	case w.decodedBytes > w.maxDecodedBytes:
		return fmt.Errorf("%w: it would take more than %d bytes decoded", ErrRequestTooLarge, maxDecodedBytes)
	case w.bad:
		return ErrMalformed
	}
	return nil // bytes after the request are ignored, as librdkafka sends some (docs/kafka-traps.md, trap 22)
}

// count adds bytes to decodedBytes. Over the limit, it marks the request as bad, which ends the check.
func (w *requestChecker) count(bytes int) {
	w.decodedBytes += bytes
	if w.decodedBytes > w.maxDecodedBytes {
		w.bad, w.rest = true, nil
	}
}

// checkStruct reads and checks one structure. tagged reports whether the structure ends in tagged fields, in flexible
// versions.
func (w *requestChecker) checkStruct(s *layoutStruct, tagged bool) {
	for i := range s.fields {
		f := &s.fields[i]
		if w.version < f.since || w.version > f.until {
			continue
		}
		switch f.kind {
		case fixed:
			w.take(f.size)
		case text:
			w.count(allocationBytes + len(w.str()))
		case nullText:
			w.count(2*allocationBytes + len(w.nullableStr()))
		case blob:
			w.nullableBytes() // kmsg does not copy bytes, so they cost nothing
		case list:
			w.checkList(f)
		case optional:
			if w.int8() != -1 {
				w.count(allocationBytes + f.element.heapBytes)
				w.checkStruct(f.element, f.tagged)
			}
		}
		if w.bad {
			return
		}
	}
	if tagged {
		w.checkTags()
	}
}

// checkList reads and checks an array.
func (w *requestChecker) checkList(f *layoutField) {
	n := w.array(f.element.wireBytes)
	if n == 0 {
		return
	}
	w.count(allocationBytes + 2*n*f.element.heapBytes) // twice, because the response has a row for each element
	for ; n > 0 && !w.bad; n-- {
		w.checkStruct(f.element, f.tagged)
	}
}

// checkTags reads the tagged fields at the end of a structure. No request with a layout has tagged fields that the
// broker reads, so that all count as unknown.
func (w *requestChecker) checkTags() {
	if !w.flexible {
		return
	}
	for n := w.uvarint(); n > 0 && !w.bad; n-- {
		w.uvarint()
		w.take(int(w.uvarint()))
		w.count(tagBytes)
	}
}

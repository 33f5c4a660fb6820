package kafka

import (
	"errors"
	"fmt"
)

// The guard walks a request's bytes by the layout of its key and version before kmsg decodes them, because kmsg
// believes every count it reads: a 6-byte body can name 2^32-1 tags and be looped over for a minute, and a body of 1 MiB
// can name a million elements of 80 bytes. The walk allocates nothing, costs time in proportion to the frame, and adds
// up what decoding would allocate; a request over its budget is refused.

// ErrMalformed means that a request's bytes do not have the form its key and version prescribe.
var ErrMalformed = errors.New("kafka: malformed request")

// ErrRequestTooLarge means that a request, or what decoding it would allocate, is over the limit.
var ErrRequestTooLarge = errors.New("kafka: request over the size limit")

type kind uint8

const (
	fixed    kind = iota // size bytes as they stand
	text                 // string, never null
	nullText             // string or null
	blob                 // bytes
	list                 // array of structures, or of one primitive
)

// field is one field of a layout. It is present in versions [since, until].
type field struct {
	kind         kind
	size         int // of a fixed field, in bytes
	since, until int16
	element      *structure // of a list
	tagged       bool       // elements of the list end in tags in flexible versions
}

// structure is a sequence of fields.
type structure struct {
	fields    []field
	heapBytes int // what one costs decoded, without what its strings and lists point to
	wireBytes int // what one takes at least in any version: at least 1
}

// layout is the form of one API's requests.
type layout struct {
	structure
	flexible int16
}

var (
	i8   = field{kind: fixed, size: 1, until: never}
	i16  = field{kind: fixed, size: 2, until: never}
	i32  = field{kind: fixed, size: 4, until: never}
	i64  = field{kind: fixed, size: 8, until: never}
	uuid = field{kind: fixed, size: 16, until: never}
	str  = field{kind: text, until: never}
	nstr = field{kind: nullText, until: never}
	byts = field{kind: blob, until: never}
)

// since limits a field to versions from v on.
func since(v int16, f field) field { f.since = v; return f }

// between limits a field to versions [lo, hi].
func between(lo, hi int16, f field) field { f.since, f.until = lo, hi; return f }

// array is a list of structures, which end in tags in flexible versions.
func array(fields ...field) field {
	return field{kind: list, until: never, tagged: true, element: structured(fields)}
}

// plain is a list of one primitive.
func plain(f field) field {
	return field{kind: list, until: never, element: structured([]field{f})}
}

func structured(fields []field) *structure {
	s := &structure{fields: fields, heapBytes: 8} // the tag map's pointer
	for _, f := range fields {
		everywhere := f.since == 0 && f.until == never
		switch f.kind {
		case fixed:
			s.heapBytes += max(f.size, 4)
			if everywhere {
				s.wireBytes += f.size
			}
			continue
		case text, nullText:
			s.heapBytes += 16
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

// allocationBytes is charged for each separate allocation, on top of its content.
const allocationBytes = 16

// tagBytes is charged for each unknown tag, which kmsg keeps in a map that is made for the first.
const tagBytes = 512

// walk is one pass over a request.
type walk struct {
	decoder
	version int16
	heap    int // bytes that decoding would allocate so far
	budget  int
}

// check verifies that body is a well-formed request of l in version, and that decoding it allocates at most
// budgetBytes. Errors match ErrMalformed or ErrRequestTooLarge.
func (l *layout) check(body []byte, version int16, budgetBytes int) error {
	w := walk{decoder: decoder{rest: body, flexible: version >= l.flexible}, version: version, budget: budgetBytes}
	w.heap = l.heapBytes
	w.structure(&l.structure, true)
	switch {
	case w.heap > w.budget:
		return fmt.Errorf("%w: it would take more than %d bytes decoded", ErrRequestTooLarge, budgetBytes)
	case w.bad:
		return ErrMalformed
	case len(w.rest) > 0:
		return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(w.rest))
	}
	return nil
}

// charge adds to the bill; over the budget the walk ends.
func (w *walk) charge(bytes int) {
	w.heap += bytes
	if w.heap > w.budget {
		w.bad, w.rest = true, nil
	}
}

func (w *walk) structure(s *structure, tagged bool) {
	for i := range s.fields {
		f := &s.fields[i]
		if w.version < f.since || w.version > f.until {
			continue
		}
		switch f.kind {
		case fixed:
			w.take(f.size)
		case text:
			w.charge(allocationBytes + len(w.str()))
		case nullText:
			w.charge(2*allocationBytes + len(w.nullableStr()))
		case blob:
			w.nullableBytes() // aliases the frame: costs nothing
		case list:
			w.list(f)
		}
		if w.bad {
			return
		}
	}
	if tagged {
		w.tags()
	}
}

func (w *walk) list(f *field) {
	n := w.decoder.array(f.element.wireBytes)
	if n == 0 {
		return
	}
	w.charge(allocationBytes + 2*n*f.element.heapBytes) // twice: an element has a row in the answer, too
	for ; n > 0 && !w.bad; n-- {
		w.structure(f.element, f.tagged)
	}
}

// tags passes over tagged fields. No request of the table has one that the broker reads, so that all are unknown.
func (w *walk) tags() {
	if !w.flexible {
		return
	}
	for n := w.uvarint(); n > 0 && !w.bad; n-- {
		w.uvarint()
		w.take(int(w.uvarint()))
		w.charge(tagBytes)
	}
}

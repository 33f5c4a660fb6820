package fields

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

var errKind = errors.New("corrupt")

// sample is a record with a field of every sort.
func sample() []byte {
	b := []byte{7}
	b = binary.BigEndian.AppendUint16(b, 0x0102)
	b = binary.BigEndian.AppendUint32(b, 0x03040506)
	b = binary.BigEndian.AppendUint64(b, math.MaxUint64)
	b = binary.AppendUvarint(b, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(binary.AppendUvarint(b, 5), "hello"...)
	b = append(b, 'x', 'y')
	return append(binary.AppendUvarint(b, 2), 1, 2)
}

// read reads a sample and reports whether what it got is what stands there.
func read(r *Reader) bool {
	right := r.Byte() == 7
	right = r.Uint16() == 0x0102 && right
	right = r.Uint32() == 0x03040506 && right
	right = r.Uint64() == math.MaxUint64 && right
	right = r.Uvarint() == math.MaxUint64 && right
	right = r.Varint() == math.MinInt64 && right
	right = r.Text() == "hello" && right
	right = string(r.Take(2)) == "xy" && right
	n := r.Count(1)
	right = n == 2 && right
	for i := range n {
		right = r.Byte() == byte(i+1) && right
	}
	return right
}

// Case: what was written is read; whatever is cut off is an error that matches the kind, and so is a byte too many.
func TestReader(t *testing.T) {
	whole := sample()
	r := NewReader(whole, errKind)
	if !read(&r) || r.End() != nil {
		t.Errorf("a whole record: %v", r.End())
	}
	for cut := range whole {
		r := NewReader(whole[:cut], errKind)
		if read(&r) || !errors.Is(r.End(), errKind) || r.OK() || r.Err() == nil {
			t.Errorf("cut at %d: %v", cut, r.End())
		}
		if r.Len() != 0 || len(r.Rest()) != 0 {
			t.Errorf("cut at %d: %d bytes are left after an error", cut, r.Len())
		}
	}
	r = NewReader(append(whole, 0), errKind)
	if !read(&r) || !r.OK() || !errors.Is(r.End(), errKind) {
		t.Errorf("a byte too many: %v", r.End())
	}
}

// Case: numbers out of their bounds, counts that can't be true and lengths that no slice has end the reading, and the
// first error stays.
func TestReaderBounds(t *testing.T) {
	for name, read := range map[string]func(*Reader){
		"above the limit":   func(r *Reader) { r.UvarintUpTo(1<<40 - 1) },
		"above the range":   func(r *Reader) { r.VarintIn(-5, 5) },
		"below the range":   func(r *Reader) { r.VarintIn(1<<40, math.MaxInt64) },
		"too many entries":  func(r *Reader) { r.Count(1) },
		"bytes that aren't": func(r *Reader) { r.Bytes() },
		"a negative length": func(r *Reader) { r.Take(-1) },
		"by the caller":     func(r *Reader) { r.Fail("no %s", "topic") },
	} {
		r := NewReader(append(binary.AppendUvarint(nil, 1<<40), make([]byte, 100)...), errKind)
		read(&r)
		first := r.Err()
		if !errors.Is(first, errKind) || r.Byte() != 0 || r.Text() != "" {
			t.Errorf("%s: %v", name, first)
		}
		r.Fail("later")
		if strings.Contains(r.End().Error(), "later") {
			t.Errorf("%s: the first error was replaced: %v", name, r.End())
		}
	}
}

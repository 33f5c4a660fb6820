package story

import "encoding/hex"

// A name in a row is in the shortest of several forms. Random ids, which are most names, take 17 bytes:
//
//	│ form 1 │ …
const (
	formText  = iota // │ text string │
	formSame         // nothing: the name is another one, which the row has before it or its story has
	formHex          // │ 16 bytes │: they are 32 hexadecimal digits
	formUUID         // │ 16 bytes │: they are a UUID, in small letters
	formEmpty        // nothing: the empty name
	formCause        // not a name: see eventblock.go
)

// name writes a name. same is what the reader will have when it reads the name.
func (w *rowWriter) name(s, same string) {
	var raw [16]byte
	switch {
	case s == "":
		w.b = append(w.b, formEmpty)
	case s == same:
		w.b = append(w.b, formSame)
	case len(s) == 32 && unhex(raw[:], s):
		w.b = append(append(w.b, formHex), raw[:]...)
	case len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		unhex(raw[:4], s[:8]) && unhex(raw[4:6], s[9:13]) && unhex(raw[6:8], s[14:18]) && unhex(raw[8:10], s[19:23]) && unhex(raw[10:], s[24:]):
		w.b = append(append(w.b, formUUID), raw[:]...)
	default:
		w.b = append(w.b, formText)
		w.string(s)
	}
}

// name reads a name that was written with the same other name.
func (r *rowReader) name(same string) string {
	switch r.Byte() {
	case formText:
		return r.Text()
	case formSame:
		return same
	case formHex:
		return hex.EncodeToString(r.Take(16))
	case formUUID:
		b := r.Take(16)
		if b == nil {
			return ""
		}
		var s [36]byte
		hex.Encode(s[:8], b[:4])
		for i, at := range [...]int{9, 14, 19} {
			s[at-1] = '-'
			hex.Encode(s[at:at+4], b[4+2*i:6+2*i])
		}
		s[23] = '-'
		hex.Encode(s[24:], b[10:])
		return string(s[:])
	case formEmpty:
	default:
		r.Fail("bad name")
	}
	return ""
}

// unhex decodes 2*len(b) hexadecimal digits, of which letters are small, and reports whether s has no others.
func unhex(b []byte, s string) bool {
	bad := byte(0)
	for i := range b {
		hi, lo := digits[s[2*i]], digits[s[2*i+1]]
		b[i] = hi<<4 | lo
		bad |= hi | lo
	}
	return bad <= 15
}

// digits has the values of the hexadecimal digits, and 255 for all other characters. Digits of ids are random, so that a
// comparison of each would mostly be predicted wrongly.
var digits = func() (values [256]byte) {
	for c := range values {
		values[c] = 255
	}
	for value, c := range "0123456789abcdef" {
		values[c] = byte(value)
	}
	return values
}()

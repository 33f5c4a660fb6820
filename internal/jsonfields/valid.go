package jsonfields

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep objects and lists may stand in each other, as encoding/json has it.
const maxDepth = 10000

// Valid reports whether data is one JSON value with nothing but blanks around it. The answer is that of json.Valid: bytes that are
// not valid UTF-8 may stand in strings. Valid looks at eight bytes of a string at a time, and is several times as fast.
func Valid(data []byte) bool {
	var room [64]byte
	open := room[:0] // the brackets that are open, '{' or '['
	i := blanks(data, 0)
value:
	for {
		if i >= len(data) {
			return false
		}
		switch c := data[i]; c {
		case '{', '[':
			if len(open) == maxDepth {
				return false
			}
			switch i = blanks(data, i+1); {
			case i < len(data) && data[i] == c+2: // '{'+2 is '}', and '['+2 is ']': an empty one is a whole value
				i++
			case c == '{':
				open = append(open, c)
				if i = fieldName(data, i); i < 0 {
					return false
				}
				continue value
			default:
				open = append(open, c)
				continue value
			}
		case '"':
			i = validString(data, i)
		case 't':
			i = literal(data, i, "true")
		case 'f':
			i = literal(data, i, "false")
		case 'n':
			i = literal(data, i, "null")
		default:
			i = number(data, i)
		}
		if i < 0 {
			return false
		}
		// A value has ended at i. It is followed by the end of what it stands in, or by the next value.
		for {
			i = blanks(data, i)
			if len(open) == 0 {
				return i == len(data)
			}
			if i >= len(data) {
				return false
			}
			inObject := open[len(open)-1] == '{'
			switch {
			case data[i] == ',' && inObject:
				if i = fieldName(data, blanks(data, i+1)); i < 0 {
					return false
				}
				continue value
			case data[i] == ',':
				i = blanks(data, i+1)
				continue value
			case data[i] == '}' && inObject, data[i] == ']' && !inObject:
				open = open[:len(open)-1]
				i++
			default:
				return false
			}
		}
	}
}

// fieldName returns the index of the value of a field whose name begins at i; -1 if there is no name with a colon.
func fieldName(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	if i = validString(data, i); i < 0 {
		return -1
	}
	if i = blanks(data, i); i >= len(data) || data[i] != ':' {
		return -1
	}
	return blanks(data, i+1)
}

// literal returns the index after a word that stands at i; -1 if it does not.
func literal(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// number returns the index after a number that begins at i; -1 if there is none.
func number(data []byte, i int) int {
	if i < len(data) && data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++ // no digit may follow
	} else if i = digits(data, i); i < 0 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		if i = digits(data, i+1); i < 0 {
			return -1
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		return digits(data, i)
	}
	return i
}

// digits returns the index after the decimal digits that begin at i; -1 if there is none.
func digits(data []byte, i int) int {
	begin := i
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	if i == begin {
		return -1
	}
	return i
}

// validString returns the index after a string that begins at i; -1 if it does not end, or is not valid.
func validString(data []byte, i int) int {
	for i++; ; {
		if i = plainEnd(data, i); i >= len(data) {
			return -1
		}
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			if i = escape(data, i+1); i < 0 {
				return -1
			}
		default: // a control character
			return -1
		}
	}
}

// plainEnd returns the first index from i on at which there is a quote, a backslash or a control character; len(data) if there is
// none.
func plainEnd(data []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(data)-i >= 8; i += 8 {
		// The lowest of the high bits that are set in found is of the first such byte: a borrow only reaches bytes above one.
		eight := binary.LittleEndian.Uint64(data[i:])
		quote, backslash := eight^ones*'"', eight^ones*'\\'
		found := ((eight-ones*0x20) & ^eight | (quote-ones) & ^quote | (backslash-ones) & ^backslash) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(data) && data[i] >= 0x20 && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// escape returns the index after what follows a backslash, which begins at i; -1 if it is no escape.
func escape(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(data)-i < 5 {
			return -1
		}
		for _, c := range data[i+1 : i+5] {
			if lower := c | 0x20; c-'0' > 9 && (lower < 'a' || lower > 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

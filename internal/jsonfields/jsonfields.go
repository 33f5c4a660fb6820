// Package jsonfields reads the fields of a JSON object without decoding their values, and compares the fields with
// those of a Go type.
package jsonfields

import (
	"bytes"
	"encoding/json"
	"iter"
)

// All returns an iterator over the names and values of the fields of a JSON object, in their order. A name that occurs
// several times is yielded each time. Names are unquoted; values are the JSON text without surrounding white space.
// Both may share memory with data. data must be valid JSON; if it is not an object, the iterator yields nothing.
func All(data []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		i := blanks(data, 0)
		if i >= len(data) || data[i] != '{' {
			return
		}
		for i = blanks(data, i+1); i < len(data) && data[i] == '"'; i = blanks(data, i+1) {
			end := stringEnd(data, i)
			name := data[i:end]
			colon := blanks(data, end)
			if i = blanks(data, colon+1); i >= len(data) {
				return // data is not valid JSON
			}
			end = valueEnd(data, i)
			if !yield(unquote(name), data[i:end]) {
				return
			}
			if i = blanks(data, end); i >= len(data) || data[i] != ',' {
				return
			}
		}
	}
}

// unquote returns the text of a JSON string. quoted includes the quotation marks.
func unquote(quoted []byte) []byte {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // the string is valid JSON
	return []byte(s)
}

// blanks returns the first index from i on that has no white space, or len(data).
func blanks(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns the index after the JSON string that begins at i.
func stringEnd(data []byte, i int) int {
	for i = plainEnd(data, i+1); i < len(data); i = plainEnd(data, i+1) {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// valueEnd returns the index after the JSON value that begins at i.
func valueEnd(data []byte, i int) int {
	for depth := 0; i < len(data); {
		switch data[i] {
		case '"':
			i = stringEnd(data, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of the object or array that has the value
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(data)
}

package cloudevent

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// MaxNameBytes is the largest length, in bytes, of an id, correlation or other name that is kept unchanged.
const MaxNameBytes = 512

// shortPrefixBytes is the largest number of bytes of a name that its short form begins with, so that people can
// recognise it.
const shortPrefixBytes = 64

// ValidName reports whether s is valid UTF-8 of at most MaxNameBytes. An empty s is valid.
func ValidName(s string) bool { return len(s) <= MaxNameBytes && utf8.ValidString(s) }

// BoundName returns s if it is a valid name, and otherwise its short form: the beginning of s, "~", and the first 128
// bits of the SHA-256 of s in hexadecimal. Different names have different short forms, so that they are never mistaken
// for each other. The short form is a valid name. It does not keep s in memory. Indexes and logs contain short forms,
// so the function must never change.
func BoundName(s string) string {
	if ValidName(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	prefix := s[:min(len(s), shortPrefixBytes)]
	for i := 0; i < utf8.UTFMax-1 && !endsWithRune(prefix) && prefix != ""; i++ {
		prefix = prefix[:len(prefix)-1]
	}
	return strings.ToValidUTF8(prefix, "\uFFFD") + "~" + hex.EncodeToString(sum[:16])
}

// endsWithRune reports whether s ends with a complete UTF-8 sequence.
func endsWithRune(s string) bool {
	r, size := utf8.DecodeLastRuneInString(s)
	return r != utf8.RuneError || size > 1
}

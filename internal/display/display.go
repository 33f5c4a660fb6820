// Package display prepares text from the log for a terminal: it replaces characters that steer the terminal or
// reorder text, and measures and cuts text in columns.
package display

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Harmless reports whether a character may be written to a terminal unchanged. Control characters are not harmless,
// as they steer the terminal; nor are line separators, which break lines, bidirectional controls, which reorder text,
// and characters that Unicode has not assigned or has deprecated, which show nothing. Other format characters are
// harmless, such as the joiners within many emoji and Indic words: a subject that is copied from the terminal must
// keep them.
func Harmless(r rune) bool {
	switch {
	case unicode.IsPrint(r), unicode.Is(unicode.Zs, r):
		return true
	case !unicode.Is(unicode.Cf, r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Deprecated, r):
		return false
	}
	return r < '\uFFF9' || '\uFFFB' < r // false for interlinear annotation characters, which terminals do not support
}

// Clean returns s with each character that is not [Harmless], and each run of bytes that are not valid UTF-8,
// replaced by U+FFFD.
func Clean(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !Harmless(r) }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if Harmless(r) {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// Width returns the number of terminal columns of a clean text. Most East Asian characters and emoji take two
// columns, whatever number of code points they consist of. Combining characters take none.
func Width(s string) int { return uniseg.StringWidth(s) }

// Pad returns s with blanks appended so that it is at least the given number of columns wide.
func Pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}

// Cut returns s if it is at most the given number of columns wide. Otherwise it returns the beginning of s with an
// ellipsis, at most as wide. It returns "" if columns is less than 1.
func Cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	if columns < 1 {
		return ""
	}
	room, end := columns-1, 0
	for rest, state := s, -1; rest != ""; {
		var cluster string
		var width int
		cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if width > room {
			break
		}
		room -= width
		end += len(cluster)
	}
	return s[:end] + "…"
}

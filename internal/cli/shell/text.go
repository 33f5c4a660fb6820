package shell

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
	"tidings.dev/internal/display"
)

// Plural returns a number and a noun, with an s unless the number is 1: "1 topic", "2 topics".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Bytes returns a number of bytes with a binary unit: "512 B", "1.5 MiB".
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n), "KMGTP"
	i := -1
	for value >= unit && i < len(units)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[i])
}

// Clean returns text from the log in a form that is safe for a terminal and for one cell of a table. Characters that
// could move the cursor or break a line are replaced by Go escape sequences.
func Clean(s string) string {
	plain := true
	for _, r := range s {
		if r == utf8.RuneError || !display.Harmless(r) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r != utf8.RuneError && display.Harmless(r) {
			b.WriteRune(r)
		} else {
			quoted := fmt.Sprintf("%+q", r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// WriteRow writes cells in one line, separated by tabs. Each cell is made safe by Clean.
func WriteRow(w io.Writer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(w, "\t")
		}
		io.WriteString(w, Clean(c))
	}
	io.WriteString(w, "\n")
}

// IsTerminal reports whether a stream, such as Session.Stdin or Session.Stderr, is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Absolute returns the absolute form of dir, or dir itself if the working directory is not known.
func Absolute(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		return full
	}
	return dir
}

package input

import "strings"

// lines reads a text line by line.
type lines struct {
	rest   string // the lines that were not skipped
	number int    // number of lines that were skipped
}

// first returns the next n lines, including the line breaks between them, without skipping them. It returns false if
// there are fewer. A line break at the end of the text does not begin another line.
func (l *lines) first(n int) (string, bool) {
	end := -1
	for range n {
		if end+1 >= len(l.rest) {
			return "", false
		}
		i := strings.IndexByte(l.rest[end+1:], '\n')
		if i < 0 {
			end = len(l.rest)
		} else {
			end += 1 + i
		}
	}
	return l.rest[:end], true
}

// skip skips the next n lines, which must exist.
func (l *lines) skip(n int) {
	text, _ := l.first(n)
	l.rest = l.rest[min(len(text)+1, len(l.rest)):]
	l.number += n
}

package input

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// A field of a row, and the column (in characters, the first is 1) in the file's line where it begins.
type field struct {
	text   string
	column int
}

var (
	errBareQuote  = errors.New("a quote inside a field that is not quoted")
	errAfterQuote = errors.New("text after a closing quote")
	errQuoteOpen  = errors.New("a quote that is never closed")
)

// splitError says where in a row the CSV itself is broken.
type splitError struct {
	column int
	err    error
}

func (e *splitError) Error() string { return e.err.Error() }
func (e *splitError) Unwrap() error { return e.err }

// split cuts one row (RFC 4180, without its line end) into fields, appended to dst. A quoted field may hold line
// breaks; errQuoteOpen says that the row may go on in the next line. encoding/csv is not used because it reads on to the
// end of the file after a stray quote, and so loses good rows with the bad one.
func split(dst []field, row string) ([]field, error) {
	column := columns{row: row}
	for at := 0; ; {
		begin := at
		if at < len(row) && row[at] == '"' {
			text, end, err := unquote(row, at)
			if err != nil {
				return dst, &splitError{column.of(end), err}
			}
			dst = append(dst, field{text, column.of(begin)})
			at = end
		} else {
			end := strings.IndexByte(row[at:], ',')
			if end < 0 {
				end = len(row) - at
			}
			text := row[at : at+end]
			if q := strings.IndexByte(text, '"'); q >= 0 {
				return dst, &splitError{column.of(at + q), errBareQuote}
			}
			dst = append(dst, field{text, column.of(begin)})
			at += end
		}
		if at == len(row) {
			return dst, nil
		}
		at++ // the comma
	}
}

// unquote reads the quoted field that begins at row[at] and returns the index after its closing quote, which is that
// of a comma or the row's end. On an error the index is that of the fault.
func unquote(row string, at int) (text string, end int, err error) {
	var b strings.Builder
	for i := at + 1; i < len(row); i++ {
		if row[i] != '"' {
			b.WriteByte(row[i])
			continue
		}
		switch {
		case i+1 == len(row) || row[i+1] == ',':
			return b.String(), i + 1, nil
		case row[i+1] == '"':
			b.WriteByte('"')
			i++
		default:
			return "", i + 1, errAfterQuote
		}
	}
	return "", at, errQuoteOpen
}

// columns turns rising byte indexes of a row into columns, counting each character once.
type columns struct {
	row        string
	at, column int
}

func (c *columns) of(index int) int {
	if index < c.at {
		c.at, c.column = 0, 0
	}
	c.column += utf8.RuneCountInString(c.row[c.at:index])
	c.at = index
	return c.column + 1
}

package input

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// field is a field of a row. column is where the field begins in its row, in characters from 1.
type field struct {
	text   string
	column int
}

var (
	errBareQuote  = errors.New("a quote inside a field that is not quoted")
	errAfterQuote = errors.New("text after a closing quote")
	errQuoteOpen  = errors.New("a quote that is never closed")
	errNotUTF8    = errors.New("bytes that are not UTF-8, in a file that is otherwise")
)

// splitError is the error of a row that is not CSV. column is where the fault is, in characters from 1.
type splitError struct {
	column int
	err    error
}

func (e *splitError) Error() string { return e.err.Error() }
func (e *splitError) Unwrap() error { return e.err }

// split splits a row of CSV (RFC 4180), without the line break at its end, into fields and appends them to dst. A
// quoted field may contain line breaks, so errQuoteOpen means that the row may continue in the next line. encoding/csv
// is not used because it reads to the end of the file after a stray quote, so that good rows are lost with the bad
// one.
func split(dst []field, row string, separator byte) ([]field, error) {
	column := columns{row: row}
	for at := 0; ; {
		begin := at
		if at < len(row) && row[at] == '"' {
			text, end, err := unquote(row, at, separator)
			if err != nil {
				return dst, &splitError{column.of(end), err}
			}
			dst = append(dst, field{text, column.of(begin)})
			at = end
		} else {
			end := strings.IndexByte(row[at:], separator)
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
		at++ // skip the separator
	}
}

// unquote returns the text of the quoted field that begins at row[at], and the index after its closing quote, where
// there is a separator or the end of the row. If there is an error, the index is that of the fault.
func unquote(row string, at int, separator byte) (text string, end int, err error) {
	var b strings.Builder
	for i := at + 1; i < len(row); i++ {
		if row[i] != '"' {
			b.WriteByte(row[i])
			continue
		}
		switch {
		case i+1 == len(row) || row[i+1] == separator:
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

// columns converts byte indexes of a row to columns. It is fast if the indexes ascend, because it counts on from the
// last one.
type columns struct {
	row        string
	at, column int
}

// of returns the column, from 1, of a byte index.
func (c *columns) of(index int) int {
	if index < c.at {
		c.at, c.column = 0, 0
	}
	c.column += utf8.RuneCountInString(c.row[c.at:index])
	c.at = index
	return c.column + 1
}

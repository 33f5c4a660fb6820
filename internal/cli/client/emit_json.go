package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"tidings.dev/internal/jsonfields"
)

// jsonError is an error in JSON data, with the column where the data stops being valid.
type jsonError struct {
	column int // counted in characters, from 1
	err    error
}

func (e *jsonError) Error() string { return fmt.Sprintf("column %d: %v", e.column, e.err) }
func (e *jsonError) Unwrap() error { return e.err }

// asJSONError converts the result of checkJSON to an error. It adds indentBytes, the number of blanks before the data
// in its line, to the column. A nil e gives a nil error.
func asJSONError(e *jsonError, indentBytes int) error {
	if e == nil {
		return nil
	}
	return &jsonError{e.column + indentBytes, e.err}
}

// checkJSON returns the error in data, or nil if data is valid JSON in UTF-8.
func checkJSON(data []byte) *jsonError {
	if !utf8.Valid(data) {
		return checkUTF8(data)
	}
	if jsonfields.Valid(data) {
		return nil
	}
	var value json.RawMessage
	err := json.Unmarshal(data, &value)
	fault := &jsonError{column: 1, err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := data[:min(max(int(syntax.Offset)-1, 0), len(data))]
		fault.column = utf8.RuneCount(before) + 1
		if int(syntax.Offset) >= len(data) && strings.Contains(syntax.Error(), "unexpected end") {
			fault.column = utf8.RuneCount(data) + 1
		}
	}
	return fault
}

// checkUTF8 returns an error at the first character of data that is not valid UTF-8. data must have one. The check is
// needed because encoding/json would replace such characters.
func checkUTF8(data []byte) *jsonError {
	for at, column := 0, 1; ; column++ {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			return &jsonError{column, fmt.Errorf("byte 0x%02x is not valid UTF-8, and JSON must be: convert the input, for example with iconv -f ISO-8859-1 -t UTF-8 if it is Latin-1", data[at])}
		}
		at += size
	}
}

// cutByteOrderMark returns data, the beginning of an input, without a UTF-8 byte order mark. It returns an error if
// data begins with a UTF-16 byte order mark.
func cutByteOrderMark(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, &jsonError{1, errors.New("the input is UTF-16, and JSON must be UTF-8: convert it, for example with iconv -f UTF-16 -t UTF-8")}
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

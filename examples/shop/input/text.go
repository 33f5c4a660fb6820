package input

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxTextBytes is the largest size of an unpacked file. The whole text is in memory while it is read.
const maxTextBytes = 1 << 30

// Encoding is the character encoding of a file.
type Encoding string

const (
	UTF8        Encoding = "UTF-8"
	UTF16       Encoding = "UTF-16"
	Windows1252 Encoding = "Windows-1252 (Latin-1)" // Latin-1 is ISO 8859-1, which Windows-1252 extends
)

// Reasons why a file is not the text of a CSV file.
var (
	errTooLong     = fmt.Errorf("it has more than %d MiB: split it", maxTextBytes>>20)
	errSpreadsheet = errors.New("it is a spreadsheet (.xlsx) or a zip archive: save the sheet as CSV, or unpack the archive")
	errUTF32       = errors.New("it is encoded in UTF-32: save it as UTF-8")
	errOddUTF16    = errors.New("it is encoded in UTF-16 and ends inside a character")
)

// readText reads a file, plain or gzipped, to its end, and returns its text in UTF-8 with "\n" at the ends of lines
// and without a byte order mark. In a file in UTF-8, invalid bytes are left as they are.
func readText(r io.Reader) (string, Encoding, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, err := in.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return "", "", fmt.Errorf("gzip: %w", err)
		}
		defer unzipped.Close()
		in = bufio.NewReaderSize(unzipped, 64<<10)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxTextBytes+1))
	switch {
	case err != nil:
		return "", "", fmt.Errorf("after %d bytes: %w", len(b), err)
	case len(b) > maxTextBytes:
		return "", "", errTooLong
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return "", "", errSpreadsheet
	}
	text, encoding, err := decode(b)
	if err != nil {
		return "", "", err
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\r", "\n") // old programs for the Mac end lines with \r
	}
	return text, encoding, nil
}

// decode returns the text of a file in UTF-8, and the encoding that the file had. It recognises the encoding by a byte
// order mark or otherwise by the bytes.
func decode(b []byte) (string, Encoding, error) {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(b, []byte{0, 0, 0xfe, 0xff}):
		return "", "", errUTF32
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return decodeUTF16(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return decodeUTF16(b[2:], binary.BigEndian)
	// A header begins with ASCII characters, whose high byte in UTF-16 is zero.
	case len(b) >= 4 && b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return decodeUTF16(b, binary.LittleEndian)
	case len(b) >= 4 && b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
		return decodeUTF16(b, binary.BigEndian)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if isWindows1252(b) {
		return decodeWindows1252(b), Windows1252, nil
	}
	return string(b), UTF8, nil
}

// decodeUTF16 decodes UTF-16 without a byte order mark.
func decodeUTF16(b []byte, order binary.ByteOrder) (string, Encoding, error) {
	if len(b)%2 != 0 {
		return "", "", errOddUTF16
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), UTF16, nil
}

// isWindows1252 reports whether b has more bytes that are invalid in UTF-8 than characters of several bytes in UTF-8.
// A file in UTF-8 with a few damaged bytes does not.
func isWindows1252(b []byte) bool {
	invalid, multibyte := 0, 0
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			invalid++
		} else {
			multibyte++
		}
		b = b[size:]
	}
	return invalid > multibyte
}

// windows1252 has the characters of the bytes 0x80 to 0x9f in Windows-1252; other bytes stand for the Unicode
// character with the same number. The five bytes that Windows-1252 does not define stand for control characters, as in
// ISO 8859-1.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ',
}

// decodeWindows1252 returns text in Windows-1252 as UTF-8.
func decodeWindows1252(b []byte) string {
	var text strings.Builder
	text.Grow(len(b) + len(b)/16)
	for _, c := range b {
		switch {
		case c < utf8.RuneSelf:
			text.WriteByte(c)
		case c < 0xa0:
			text.WriteRune(windows1252[c-0x80])
		default:
			text.WriteRune(rune(c))
		}
	}
	return text.String()
}

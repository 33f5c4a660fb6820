package input

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Row is a row that could be parsed.
type Row struct {
	Line        int // line number, from 1
	InvoiceNo   string
	StockCode   string
	Description string
	Quantity    int64
	At          time.Time // in UTC; a date without a zone is taken to be in UTC
	UnitPence   int64     // the price, rounded half up
	PriceSign   int       // sign of the price as it is written; a positive price may be rounded to zero pence
	Customer    string    // empty if the row does not name one
	Country     string
}

// BadRow is a row that could not be parsed.
type BadRow struct {
	Line   int    // number of the line where the row begins, from 1
	Column int    // where the fault is, in characters from 1
	Field  string // the column's name in the header; "" if the row itself is malformed
	Reason string
}

func (b BadRow) String() string {
	if b.Field == "" {
		return fmt.Sprintf("line %d, column %d: %s", b.Line, b.Column, b.Reason)
	}
	return fmt.Sprintf("line %d, column %d (%s): %s", b.Line, b.Column, b.Field, b.Reason)
}

const (
	maxQuantity    = 10_000_000
	maxQuotedLines = 64 // number of further lines that a quoted field may extend over
)

// Options are how to read a file where the file itself does not show it. The zero value takes everything from the
// file.
type Options struct {
	Dates DateOrder // order of day and month
}

// ReadRows reads a CSV file, plain or gzipped, and calls good or bad with each row, in the order of the file. After a
// row that cannot be parsed, it continues with the line after the one where that row began, so that no other row is
// lost. It keeps the whole text in memory and reads it twice, because only all dates and numbers of a file together
// show how each of them is to be read.
//
// It returns an error, and calls neither function, if the file cannot be read as a whole: a *HeaderError, a
// *DateOrderError, an error of its encoding or compression, or an error of r.
func (o Options) ReadRows(r io.Reader, good func(Row), bad func(BadRow)) (Format, error) {
	text, encoding, err := readText(r)
	if err != nil {
		return Format{}, err
	}
	l := lines{rest: text}
	h, err := readHeader(&l)
	if err != nil {
		return Format{}, err
	}
	f := Format{Encoding: encoding, Separator: h.separator}
	if err := f.choose(h, l, o.Dates); err != nil {
		return Format{}, err
	}
	p := rowParser{header: h, format: f, texts: map[string]string{}, times: map[string]time.Time{}}
	for row := range h.rows(l) {
		err := row.err
		if err == nil {
			var parsed Row
			if parsed, err = p.parse(row.fields); err == nil {
				parsed.Line = row.line
				good(parsed)
				continue
			}
		}
		bad(asBadRow(row.line, err))
	}
	return f, nil
}

// rawRow is a row whose fields are not parsed yet. If err is nil, it has as many fields as the header. The fields are
// valid until the next row is read.
type rawRow struct {
	line   int // number of the line where the row begins
	fields []field
	err    error
}

// rows returns an iterator over the rows in l, which has the lines after the header. Empty lines are left out.
func (h header) rows(l lines) iter.Seq[rawRow] {
	return func(yield func(rawRow) bool) {
		var fields []field
		for {
			text, ok := l.first(1)
			if !ok {
				return
			}
			if text == "" { // an empty line is not a row
				l.skip(1)
				continue
			}
			row := rawRow{line: l.number + 1}
			var n int
			fields, n, row.err = h.splitLines(fields[:0], &l, text)
			l.skip(n)
			if row.fields = fields; !yield(row) {
				return
			}
		}
	}
}

// splitLines splits the row that begins with line, the first line of l, and returns the number of lines that the row
// has. If the line ends inside quotes, the row continues in the following lines. If these do not complete it within
// maxQuotedLines, the quote is stray: then the error is that of the first line, and the other lines are rows of their
// own.
func (h header) splitLines(dst []field, l *lines, line string) (fields []field, n int, err error) {
	fields, first := h.split(dst, line)
	if !errors.Is(first, errQuoteOpen) {
		return fields, 1, first
	}
	for n := 2; n <= maxQuotedLines+1; n++ {
		text, ok := l.first(n)
		if !ok {
			break
		}
		fields, err := h.split(dst, text)
		if err == nil {
			return fields, n, nil
		}
		if !errors.Is(err, errQuoteOpen) {
			break
		}
	}
	return fields, 1, first
}

// split splits one row into fields and appends them to dst. It returns an error if the row does not have as many
// fields as the header.
func (h header) split(dst []field, text string) ([]field, error) {
	if column := invalidUTF8(text); column > 0 {
		return dst, &splitError{column, errNotUTF8}
	}
	fields, err := split(dst, text, h.separator)
	if err == nil && len(fields) != h.width {
		last := fields[min(len(fields), h.width+1)-1]
		err = &splitError{last.column, fmt.Errorf("%d fields where the header has %d", len(fields), h.width)}
	}
	return fields, err
}

// invalidUTF8 returns the column, from 1, of the first byte that is not valid UTF-8, or 0 if there is none.
func invalidUTF8(text string) (column int) {
	if utf8.ValidString(text) {
		return 0
	}
	for column = 1; ; column++ {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size <= 1 {
			return column
		}
		text = text[size:]
	}
}

// rowError is the error of a row with a field that cannot be parsed.
type rowError struct {
	column int
	field  string
	err    error
}

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// asBadRow returns the BadRow for a row that begins at line and has failed with err.
func asBadRow(line int, err error) BadRow {
	b := BadRow{Line: line, Column: 1, Reason: err.Error()}
	if e, ok := errors.AsType[*rowError](err); ok {
		b.Column, b.Field = max(e.column, 1), e.field
	}
	if e, ok := errors.AsType[*splitError](err); ok {
		b.Column = e.column
	}
	return b
}

// rowParser parses the fields of rows.
type rowParser struct {
	header header
	format Format
	texts  map[string]string    // strings that shared has returned
	times  map[string]time.Time // dates that were parsed, by their text
}

// parse parses the fields of a row, all but its line number. The error is a *rowError.
func (p *rowParser) parse(fields []field) (Row, error) {
	raw := func(col int) string { return strings.TrimSpace(fields[p.header.where[col]].text) }
	text := func(col int) string { return p.shared(raw(col)) }
	fault := func(col int, err error) (Row, error) {
		return Row{}, &rowError{column: fields[p.header.where[col]].column, field: p.header.names[col], err: err}
	}
	r := Row{
		InvoiceNo: text(colInvoiceNo), StockCode: text(colStockCode), Description: text(colDescription),
		Customer: p.shared(customer(raw(colCustomerID))), Country: text(colCountry),
	}
	if err := checkInvoiceNo(r.InvoiceNo); err != nil {
		return fault(colInvoiceNo, err)
	}
	var err error
	if r.Quantity, err = quantityOf(raw(colQuantity), p.format.mark); err != nil {
		return fault(colQuantity, err)
	}
	if r.At, err = p.time(raw(colInvoiceDate)); err != nil {
		return fault(colInvoiceDate, err)
	}
	unit, err := priceOf(raw(colUnitPrice), p.format.mark)
	if err != nil {
		return fault(colUnitPrice, fmt.Errorf("%q: %w", raw(colUnitPrice), err))
	}
	r.UnitPence, r.PriceSign = unit.pence, unit.sign
	return r, nil
}

// shared returns a string equal to s that does not keep the text of the file in memory. It returns the same string for
// equal arguments, since descriptions and the like repeat.
func (p *rowParser) shared(s string) string {
	shared, ok := p.texts[s]
	if !ok {
		shared = strings.Clone(s)
		p.texts[shared] = shared
	}
	return shared
}

// time parses a date of the file.
func (p *rowParser) time(s string) (time.Time, error) {
	if at, ok := p.times[s]; ok {
		return at, nil
	}
	d, ok := scanDate(s)
	if !ok {
		return time.Time{}, fmt.Errorf("%q is not a date like 2010-12-01 08:26:00", s)
	}
	at, ok := d.time(p.format.Dates)
	switch {
	case !ok && d.needsOrder():
		return time.Time{}, fmt.Errorf("the calendar does not have %q, taken as %s", s, p.format.Dates.words())
	case !ok:
		return time.Time{}, fmt.Errorf("the calendar does not have %q", s)
	}
	p.times[strings.Clone(s)] = at
	return at, nil
}

// customer returns a customer's number without the suffix ".0" or ",0", which programs add that have read it as a
// decimal number.
func customer(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, ".0"), ",0")
}

// checkInvoiceNo returns an error if no cannot be part of a subject such as order/<InvoiceNo>.
func checkInvoiceNo(no string) error {
	if no == "" {
		return errors.New("no invoice number")
	}
	if len(no) > 64 {
		return errors.New("an invoice number longer than 64 bytes")
	}
	for _, c := range no {
		if c == '/' || c == utf8.RuneError || !unicode.IsGraphic(c) || unicode.IsSpace(c) {
			return fmt.Errorf("%q cannot be an invoice number", no)
		}
	}
	return nil
}

package input

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Row is one good line of the file.
type Row struct {
	Line        int // the first is 1
	InvoiceNo   string
	StockCode   string
	Description string
	Quantity    int64
	At          time.Time // in UTC, as the file names no zone
	UnitPence   int64     // round-half-up of the price
	PriceSign   int       // of the price as written: a price above zero may round to zero pence
	Customer    string    // "" if the row names none
	Country     string
}

// BadRow is a row that could not be parsed.
type BadRow struct {
	Line   int    // where the row begins; the first line is 1
	Column int    // of the fault, in characters; the first is 1
	Field  string // the column's name in the header; "" where the row itself is broken
	Reason string
}

func (b BadRow) String() string {
	if b.Field == "" {
		return fmt.Sprintf("line %d, column %d: %s", b.Line, b.Column, b.Reason)
	}
	return fmt.Sprintf("line %d, column %d (%s): %s", b.Line, b.Column, b.Field, b.Reason)
}

// HeaderError says that the file is not one of orders at all.
type HeaderError struct{ Reason string }

func (e *HeaderError) Error() string { return "line 1: " + e.Reason }

const (
	maxQuantity    = 10_000_000
	maxQuotedLines = 64 // that one quoted field may span
	dateLayout     = "2006-01-02 15:04:05"
)

// The columns, by their names in the header; they may stand in any sequence there.
var columnNames = [...]string{"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"}

const (
	colInvoiceNo = iota
	colStockCode
	colDescription
	colQuantity
	colInvoiceDate
	colUnitPrice
	colCustomerID
	colCountry
)

// ReadRows reads a CSV, plain or gzipped, and hands over each row in the file's order: good, or bad. A broken row costs
// that row only: reading goes on at the line after the one where it began. An error means that the file as a whole could
// not be read (*HeaderError, a cut gzip stream, the reader's own), after the rows handed over so far.
func ReadRows(r io.Reader, good func(Row), bad func(BadRow)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, err := in.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		defer unzipped.Close()
		in = bufio.NewReaderSize(unzipped, 64<<10)
	}
	lines := &lineReader{in: in}
	header, ok := lines.next()
	if !ok {
		if lines.err != nil {
			return lines.err
		}
		return &HeaderError{"the file is empty"}
	}
	where, width, err := readHeader(strings.TrimPrefix(header, "\ufeff"))
	if err != nil {
		return err
	}

	p := rowParser{where: where, width: width, texts: map[string]string{}}
	for {
		first := lines.number + 1
		text, ok := lines.next()
		if !ok {
			break
		}
		if text == "" {
			continue // an empty line is no row
		}
		row, err := p.parse(text)
		if errors.Is(err, errQuoteOpen) {
			row, err = p.parseOn(text, err, lines)
		}
		if err != nil {
			bad(asBadRow(first, err))
			continue
		}
		row.Line = first
		good(row)
	}
	return lines.err
}

// parseOn goes on with a row whose line ended inside quotes. If the lines that follow do not complete it the quote was
// stray: the row ends where its line does (open says why), and those lines are rows of their own.
func (p *rowParser) parseOn(text string, open error, lines *lineReader) (Row, error) {
	for n := 1; n <= maxQuotedLines; n++ {
		more, ok := lines.ahead(n)
		if !ok {
			break
		}
		text += "\n" + more
		row, err := p.parse(text)
		if err == nil {
			lines.skip(n)
			return row, nil
		}
		if !errors.Is(err, errQuoteOpen) {
			break
		}
	}
	return Row{}, open
}

// readHeader returns the index in a row of each column.
func readHeader(line string) (where [len(columnNames)]int, width int, err error) {
	fields, err := split(nil, line)
	if err != nil {
		return where, 0, &HeaderError{"not CSV: " + err.Error()}
	}
	for i, name := range columnNames {
		where[i] = -1
		for j, f := range fields {
			if strings.EqualFold(strings.TrimSpace(f.text), name) {
				where[i] = j
			}
		}
		if where[i] < 0 {
			return where, 0, &HeaderError{fmt.Sprintf("no column %s (the header must name %s)", name, strings.Join(columnNames[:], ", "))}
		}
	}
	return where, len(fields), nil
}

// rowError is why a row is bad: a field's fault, or the row's own.
type rowError struct {
	column int
	field  string
	err    error
}

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

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

type rowParser struct {
	where  [len(columnNames)]int
	width  int
	fields []field
	texts  map[string]string // descriptions and the like repeat: each is kept once
}

func (p *rowParser) parse(text string) (Row, error) {
	var err error
	if p.fields, err = split(p.fields[:0], text); err != nil {
		return Row{}, err
	}
	if len(p.fields) != p.width {
		last := p.fields[min(len(p.fields), p.width+1)-1]
		return Row{}, &rowError{column: last.column, err: fmt.Errorf("%d fields where the header has %d", len(p.fields), p.width)}
	}
	fault := func(col int, err error) (Row, error) {
		return Row{}, &rowError{column: p.fields[p.where[col]].column, field: columnNames[col], err: err}
	}
	r := Row{
		InvoiceNo: p.text(colInvoiceNo), StockCode: p.text(colStockCode), Description: p.text(colDescription),
		Customer: strings.TrimSuffix(p.text(colCustomerID), ".0"), Country: p.text(colCountry),
	}
	if err := checkInvoiceNo(r.InvoiceNo); err != nil {
		return fault(colInvoiceNo, err)
	}
	if r.Quantity, err = strconv.ParseInt(p.text(colQuantity), 10, 64); err != nil {
		return fault(colQuantity, fmt.Errorf("%q is not a whole number", p.text(colQuantity)))
	}
	if r.Quantity > maxQuantity || r.Quantity < -maxQuantity {
		return fault(colQuantity, fmt.Errorf("a quantity beyond ±%d", maxQuantity))
	}
	if r.At, err = time.Parse(dateLayout, p.text(colInvoiceDate)); err != nil {
		return fault(colInvoiceDate, fmt.Errorf("%q is not a date like 2010-12-01 08:26:00", p.text(colInvoiceDate)))
	}
	unit, err := parsePrice(p.text(colUnitPrice))
	if err != nil {
		return fault(colUnitPrice, fmt.Errorf("%q: %w", p.text(colUnitPrice), err))
	}
	r.UnitPence, r.PriceSign = unit.pence, unit.sign
	return r, nil
}

// text is a column's field, trimmed, in valid UTF-8, and shared with all earlier equal ones.
func (p *rowParser) text(col int) string {
	s := strings.TrimSpace(p.fields[p.where[col]].text)
	if shared, ok := p.texts[s]; ok {
		return shared
	}
	shared := strings.Clone(strings.ToValidUTF8(s, "\ufffd"))
	if col != colQuantity && col != colUnitPrice {
		p.texts[shared] = shared
	}
	return shared
}

// checkInvoiceNo refuses what could not stand in a subject: order/<InvoiceNo>.
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

// lineReader gives lines without their ends, and can look ahead.
type lineReader struct {
	in     *bufio.Reader
	number int // of the line given last
	queue  []string
	err    error // why reading ended, nil at the end of the file
	ended  bool
}

func (l *lineReader) next() (string, bool) {
	line, ok := l.ahead(1)
	if ok {
		l.skip(1)
	}
	return line, ok
}

// ahead returns the nth line after the one given last.
func (l *lineReader) ahead(n int) (string, bool) {
	for len(l.queue) < n && !l.ended {
		line, err := l.in.ReadString('\n')
		if err != nil {
			l.ended = true
			if !errors.Is(err, io.EOF) {
				l.err = fmt.Errorf("after line %d: %w", l.number+len(l.queue), err)
				break // half a line is no line
			}
			if line == "" {
				break
			}
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		l.queue = append(l.queue, line)
	}
	if len(l.queue) < n {
		return "", false
	}
	return l.queue[n-1], true
}

func (l *lineReader) skip(n int) {
	l.queue = append(l.queue[:0], l.queue[n:]...)
	l.number += n
}

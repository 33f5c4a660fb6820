// Package input reads the shop's orders from a CSV file of invoice lines. It finds out how the file is written, parses
// its rows, gathers the lines of each invoice, and computes totals in exact pence. It does not depend on the shop's
// services and facts.
package input

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"
)

// Invoice has all lines of one InvoiceNo, wherever they are in the file.
type Invoice struct {
	No          string
	At          time.Time // the date of its first line
	Customer    string    // empty if no line names one
	Country     string
	Lines       []Line // lines that count for the total
	Adjustments []Line // other lines: stock corrections, gifts, fees
	TotalPence  int64  // sum of unit price · |quantity| over Lines
}

// Line is one line of an invoice.
type Line struct {
	StockCode   string `json:"stock_code"`
	Description string `json:"description,omitempty"`
	Quantity    int64  `json:"quantity"`
	UnitPence   int64  `json:"unit_pence"`
}

// Return reports whether the invoice is for a return: its number begins with C.
func (i *Invoice) Return() bool { return strings.HasPrefix(i.No, "C") }

// ErrTotal is matched by the error of a row with which the total of its invoice would exceed 64 bits.
var ErrTotal = errors.New("total out of range")

// Batch is the content of a file.
type Batch struct {
	Invoices []*Invoice // in the order of their first lines
	Rows     int        // number of rows that could be used
	BadRows  int        // number of rows that could not be used
	Format   Format
}

// NoGoodRowError is the error of a file that has rows, none of which can be used.
type NoGoodRowError struct {
	Rows  int
	First BadRow
}

func (e *NoGoodRowError) Error() string {
	if e.Rows == 1 {
		return fmt.Sprintf("its only row cannot be used: %v", e.First)
	}
	return fmt.Sprintf("none of its %d rows can be used; the first: %v", e.Rows, e.First)
}

// Read is like [Options.Read] with the zero Options.
func Read(r io.Reader, bad func(BadRow)) (*Batch, error) { return Options{}.Read(r, bad) }

// Read reads a CSV file to its end, as ReadRows does, since the lines of an invoice may be anywhere in the file. It
// calls bad with each row that cannot be used; bad may be nil. If no row can be used, it does not call bad and returns
// a *NoGoodRowError. Other errors are those of ReadRows.
//
// A line of an order counts for the total if its quantity and price are positive. A line of a return counts if its
// quantity is negative and its price is positive. An invoice without a line that counts is also in the batch.
func (o Options) Read(r io.Reader, bad func(BadRow)) (*Batch, error) {
	if bad == nil {
		bad = func(BadRow) {}
	}
	b := &Batch{}
	byNo := map[string]*Invoice{}
	var held []BadRow // bad rows before the first good row
	report := func(row BadRow) {
		if b.BadRows++; b.Rows == 0 {
			held = append(held, row)
		} else {
			bad(row)
		}
	}
	format, err := o.ReadRows(r, func(row Row) {
		invoice := byNo[row.InvoiceNo]
		if invoice == nil {
			invoice = &Invoice{No: row.InvoiceNo, At: row.At, Country: row.Country}
		}
		if err := invoice.add(row); err != nil {
			report(BadRow{Line: row.Line, Column: 1, Reason: err.Error()})
			return
		}
		b.Rows++
		for _, row := range held {
			bad(row)
		}
		held = nil
		if byNo[row.InvoiceNo] == nil {
			byNo[row.InvoiceNo] = invoice
			b.Invoices = append(b.Invoices, invoice)
		}
	}, report)
	switch {
	case err != nil:
		return nil, err
	case len(held) > 0:
		return nil, &NoGoodRowError{b.BadRows, held[0]}
	}
	b.Format = format
	return b, nil
}

// add adds a row to the invoice. If it returns an error, the invoice is unchanged.
func (i *Invoice) add(row Row) error {
	line := Line{StockCode: row.StockCode, Description: row.Description, Quantity: row.Quantity, UnitPence: row.UnitPence}
	counts := row.Quantity > 0
	units := row.Quantity
	if i.Return() {
		counts = row.Quantity < 0
		units = -row.Quantity
	}
	if counts && row.PriceSign > 0 {
		total, err := addProduct(i.TotalPence, units, row.UnitPence)
		if err != nil {
			return fmt.Errorf("invoice %s: %w", i.No, err)
		}
		i.TotalPence = total
		i.Lines = append(i.Lines, line)
	} else {
		i.Adjustments = append(i.Adjustments, line)
	}
	if i.Customer == "" {
		i.Customer = row.Customer
	}
	if i.Country == "" {
		i.Country = row.Country
	}
	return nil
}

// addProduct returns sum + a·b, or ErrTotal if that exceeds 64 bits. None of the arguments may be negative.
func addProduct(sum, a, b int64) (int64, error) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	total, carry := bits.Add64(uint64(sum), lo, 0)
	if hi != 0 || carry != 0 || total > 1<<63-1 {
		return 0, ErrTotal
	}
	return int64(total), nil
}

// Package input reads the shop's orders from a CSV of invoice lines: it parses rows, gathers the lines of each invoice,
// and works out totals in exact pence. It knows no service and no event.
package input

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"
)

// Invoice is all lines of one InvoiceNo, wherever in the file they stand.
type Invoice struct {
	No          string
	At          time.Time // of its first line
	Customer    string    // "" if no line names one
	Country     string
	Lines       []Line // those that count
	Adjustments []Line // the others: stock corrections, gifts, fees
	TotalPence  int64  // Σ unit price · |quantity| over Lines
}

// Line is one line of an invoice.
type Line struct {
	StockCode   string `json:"stock_code"`
	Description string `json:"description,omitempty"`
	Quantity    int64  `json:"quantity"`
	UnitPence   int64  `json:"unit_pence"`
}

// Return reports whether the invoice takes back what was sold: its number begins with C.
func (i *Invoice) Return() bool { return strings.HasPrefix(i.No, "C") }

// ErrTotal is why an invoice cannot be counted: its total is beyond what 64 bits hold.
var ErrTotal = errors.New("total out of range")

// Batch is what one file holds.
type Batch struct {
	Invoices []*Invoice // in the sequence of their first lines
	Rows     int        // good rows
	BadRows  int
}

// Read reads the whole of a CSV (see ReadRows) before it returns, since the lines of an invoice may stand anywhere in
// it. Each bad row is handed to bad (which may be nil) as it is met.
//
// A line of an order counts if its quantity and price are above zero; of a return, if its quantity is below zero and
// its price above. An order without a line that counts is in the batch all the same.
func Read(r io.Reader, bad func(BadRow)) (*Batch, error) {
	b := &Batch{}
	byNo := map[string]*Invoice{}
	report := func(row BadRow) {
		b.BadRows++
		if bad != nil {
			bad(row)
		}
	}
	err := ReadRows(r, func(row Row) {
		invoice := byNo[row.InvoiceNo]
		if invoice == nil {
			invoice = &Invoice{No: row.InvoiceNo, At: row.At, Country: row.Country}
		}
		if err := invoice.add(row); err != nil {
			report(BadRow{Line: row.Line, Column: 1, Reason: err.Error()})
			return
		}
		b.Rows++
		if byNo[row.InvoiceNo] == nil {
			byNo[row.InvoiceNo] = invoice
			b.Invoices = append(b.Invoices, invoice)
		}
	}, report)
	if err != nil {
		return nil, err
	}
	return b, nil
}

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

// addProduct is sum + a·b, none of them below zero.
func addProduct(sum, a, b int64) (int64, error) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	total, carry := bits.Add64(uint64(sum), lo, 0)
	if hi != 0 || carry != 0 || total > 1<<63-1 {
		return 0, ErrTotal
	}
	return int64(total), nil
}

package input

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

const headerLine = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// read returns what Read gives for some lines after the header, and the bad rows as text.
func read(t *testing.T, lines string) (*Batch, []string) {
	t.Helper()
	var bad []string
	b, err := Read(strings.NewReader(headerLine+lines), func(r BadRow) { bad = append(bad, r.String()) })
	if err != nil {
		t.Fatal(err)
	}
	if len(bad) != b.BadRows {
		t.Errorf("%d bad rows counted, %d reported", b.BadRows, len(bad))
	}
	return b, bad
}

// Case: lines of an invoice that stand apart are one order, in the place of its first line.
func TestLinesOfAnInvoiceMeet(t *testing.T) {
	b, bad := read(t, `2,A,first,1,2010-12-01 08:00:00,1.00,,France
1,A,other,1,2010-12-01 08:01:00,2.00,12.0,Spain
2,B,"second, with a comma",3,2010-12-01 08:02:00,1.005,17850.0,France
`)
	if len(bad) != 0 || len(b.Invoices) != 2 || b.Rows != 3 {
		t.Fatalf("%d invoices of %d rows, bad: %q", len(b.Invoices), b.Rows, bad)
	}
	two := b.Invoices[0]
	if two.No != "2" || two.TotalPence != 100+3*101 || two.Customer != "17850" || two.Country != "France" ||
		!two.At.Equal(time.Date(2010, 12, 1, 8, 0, 0, 0, time.UTC)) || two.Lines[1].Description != "second, with a comma" {
		t.Errorf("%+v", two)
	}
}

func TestWhatCounts(t *testing.T) {
	b, _ := read(t, `1,A,sold,2,2010-12-01 08:00:00,1.50,1.0,UK
1,B,free,1,2010-12-01 08:00:00,0.0,1.0,UK
1,C,taken out,-1,2010-12-01 08:00:00,9.99,1.0,UK
1,D,worth nothing yet above zero,5,2010-12-01 08:00:00,0.001,1.0,UK
C2,A,brought back,-2,2010-12-01 08:00:00,1.50,1.0,UK
C2,B,odd,1,2010-12-01 08:00:00,1.50,1.0,UK
3,E,lost stock,-100,2010-12-01 08:00:00,0.0,,UK
`)
	want := []string{"1: 300 pence, 2 lines, 2 others, return false", "C2: 300 pence, 1 lines, 1 others, return true", "3: 0 pence, 0 lines, 1 others, return false"}
	for i, v := range b.Invoices {
		got := fmt.Sprintf("%s: %d pence, %d lines, %d others, return %v", v.No, v.TotalPence, len(v.Lines), len(v.Adjustments), v.Return())
		if got != want[i] {
			t.Errorf("%s, want %s", got, want[i])
		}
	}
}

// Case: each bad row is named with line and column, and costs no other row.
func TestBadRows(t *testing.T) {
	b, bad := read(t, strings.Join([]string{
		`1,A,good,1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,bad,six,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,über "quoted",1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,"never closed,1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,"good, after it",1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,"closed"too early,1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,short,1`,
		`1,A,long,1,2010-12-01 08:00:00,1.00,1.0,UK,and,more`,
		`,A,nameless,1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`a/b,A,slash,1,2010-12-01 08:00:00,1.00,1.0,UK`,
		`1,A,é,1,yesterday,1.00,1.0,UK`,
		`1,A,price,1,2010-12-01 08:00:00,£1,1.0,UK`,
		`1,A,many,99999999999,2010-12-01 08:00:00,1.00,1.0,UK`,
		``,
		"1,A,\"good, over\ntwo lines\",1,2010-12-01 08:00:00,1.00,1.0,UK",
		`1,A,good,1,2010-12-01 08:00:00,1.00,1.0,UK`,
	}, "\r\n"))
	want := []string{
		`line 3, column 9 (Quantity): "six" is not a whole number`,
		`line 4, column 10: a quote inside a field that is not quoted`,
		`line 5, column 5: a quote that is never closed`,
		`line 7, column 13: text after a closing quote`,
		`line 8, column 11: 4 fields where the header has 8`,
		`line 9, column 44: 10 fields where the header has 8`,
		`line 10, column 1 (InvoiceNo): no invoice number`,
		`line 11, column 1 (InvoiceNo): "a/b" cannot be an invoice number`,
		`line 12, column 9 (InvoiceDate): "yesterday" is not a date like 2010-12-01 08:26:00`,
		`line 13, column 33 (UnitPrice): "£1": not a price in pounds, like 2.55`,
		`line 14, column 10 (Quantity): a quantity beyond ±10000000`,
	}
	for i := range max(len(bad), len(want)) {
		switch {
		case i >= len(bad):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("too many: %s", bad[i])
		case bad[i] != want[i]:
			t.Errorf("got  %s\nwant %s", bad[i], want[i])
		}
	}
	if len(b.Invoices) != 1 || b.Rows != 4 || b.Invoices[0].TotalPence != 400 {
		t.Errorf("%d invoices of %d rows, want one of 4: the good ones", len(b.Invoices), b.Rows)
	}
}

func TestAFileThatIsNotOneOfOrders(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "other columns": "a,b,c\n1,2,3\n", "a page": "<html>\n"} {
		_, err := Read(strings.NewReader(text), nil)
		if _, ok := errors.AsType[*HeaderError](err); !ok {
			t.Errorf("%s: %v, want a HeaderError", name, err)
		}
	}
	// Case: a gzip stream that was cut is said to be so, and not taken for a short file.
	cut := CarriedDay[:len(CarriedDay)/2]
	if _, err := Read(bytes.NewReader(cut), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a gzip stream: %v", err)
	}
}

func TestHeaderMayStandInAnySequence(t *testing.T) {
	b, err := Read(strings.NewReader("\ufeffCountry,UnitPrice,Quantity,InvoiceDate,CustomerID,Description,StockCode,invoiceno,More\nUK,2,3,2010-12-01 08:00:00,,x,A,1,y\n"), nil)
	if err != nil || b.Invoices[0].No != "1" || b.Invoices[0].TotalPence != 600 {
		t.Fatalf("%+v %v", b, err)
	}
}

func TestCarriedDay(t *testing.T) {
	b, err := Read(bytes.NewReader(CarriedDay), nil)
	if err != nil {
		t.Fatal(err)
	}
	returns := 0
	for _, i := range b.Invoices {
		if i.Return() {
			returns++
		}
	}
	if b.Rows != 3108 || b.BadRows != 0 || len(b.Invoices) != 143 || returns != 6 || b.Invoices[0].No != "536365" || b.Invoices[0].TotalPence != 13912 {
		t.Errorf("%d rows, %d bad, %d invoices, %d returns; first %s of %d pence", b.Rows, b.BadRows, len(b.Invoices), returns, b.Invoices[0].No, b.Invoices[0].TotalPence)
	}
}

// Bytes of any kind never panic, and what encoding/csv can read as a row of the right width is read alike.
func FuzzRows(f *testing.F) {
	zipped, _ := gzip.NewReader(bytes.NewReader(CarriedDay))
	some, _ := io.ReadAll(io.LimitReader(zipped, 2000))
	f.Add(some[len(headerLine):])
	f.Add([]byte("1,A,\"x\ny\",1,2010-12-01 08:00:00,1.00,1.0,UK\n"))
	f.Add([]byte("1,\"\"\"\",,,,,\"\n"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		var rows []Row
		bad := 0
		_, failed := Options{}.ReadRows(io.MultiReader(strings.NewReader(headerLine), bytes.NewReader(lines)), func(r Row) { rows = append(rows, r) }, func(b BadRow) {
			bad++
			if b.Line < 2 || b.Column < 1 {
				t.Errorf("%v: no such place", b)
			}
		})
		strict := csv.NewReader(bytes.NewReader(lines))
		all, err := strict.ReadAll()
		if failed != nil || err != nil || bad > 0 || bytes.ContainsAny(lines, "\r\ufeff") || !bytes.Equal(bytes.ToValidUTF8(lines, nil), lines) {
			return
		}
		if len(all) != len(rows) {
			t.Fatalf("%d rows, encoding/csv reads %d", len(rows), len(all))
		}
		for i, r := range rows {
			if r.InvoiceNo != strings.TrimSpace(all[i][0]) || r.Description != strings.TrimSpace(all[i][2]) {
				t.Errorf("row %d: %q %q, encoding/csv reads %q", i, r.InvoiceNo, r.Description, all[i])
			}
		}
	})
}

package input

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readFile reads a file of testdata.
func readFile(t *testing.T, name string, o Options) (b *Batch, bad []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err = o.Read(bytes.NewReader(content), func(r BadRow) { bad = append(bad, r.String()) })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b, bad
}

// wantOrders are the invoices of the files of TestKindsOfFiles, whatever way they are written in. A file without seconds has
// the last one 30 s earlier.
func wantOrders(last time.Time) []*Invoice {
	return []*Invoice{
		{No: "700001", At: time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC), Customer: "17850", Country: "United Kingdom", TotalPence: 6*255 + 123450,
			Lines: []Line{{"T1", "TEA TOWEL", 6, 255}, {"M2", "CAFÉ MUG, BLUE", 1, 123450}}},
		{No: "C700002", At: last, Country: "France", TotalPence: 12 * 85, Lines: []Line{{"J3", `JAM "SET" JAR`, -12, 85}}},
	}
}

// Case: the same three rows in every way in which people have such a file.
func TestKindsOfFiles(t *testing.T) {
	noted := map[string]string{ // by file: what a user is told
		"us_dates.csv":                "dates like 12/1/2010 8:26 are taken as month/day/year; no date of the file shows it: --date-format dmy takes them as day/month/year",
		"us_dates_am_pm.csv":          "dates like 12/1/10 8:26 AM are taken as month/day/year; no date of the file shows it: --date-format dmy takes them as day/month/year",
		"dashed_dates.csv":            "dates like 01-12-2010 08:26 are taken as day/month/year; no date of the file shows it: --date-format mdy takes them as month/day/year",
		"dotted_dates.csv":            "dates like 01.12.2010 08:26:00 are taken as day/month/year; no date of the file shows it: --date-format mdy takes them as month/day/year",
		"latin1.csv":                  "its characters are taken as Windows-1252 (Latin-1)",
		"utf16le.csv":                 "its characters are taken as UTF-16",
		"utf16be.csv":                 "its characters are taken as UTF-16",
		"utf16le_no_mark.csv":         "its characters are taken as UTF-16",
		"gzipped_utf16.csv.gz":        "its characters are taken as UTF-16",
		"decimal_comma.csv":           "commas in its prices are taken as decimal commas",
		"semicolon_decimal_comma.csv": "commas in its prices are taken as decimal commas",
		"thousands_blank.csv":         "commas in its prices are taken as decimal commas",
		"excel_serials_comma.csv":     "commas in its prices are taken as decimal commas",
	}
	files := 0
	for _, entry := range list(t) {
		if entry == "windows1252.csv" || entry == "quoted_lines.csv" { // tests of their own
			continue
		}
		files++
		t.Run(entry, func(t *testing.T) {
			b, bad := readFile(t, entry, Options{})
			if len(bad) != 0 || b.Rows != 3 {
				t.Errorf("%d rows, bad: %q", b.Rows, bad)
			}
			last := time.Date(2010, 12, 3, 17, 5, 30, 0, time.UTC)
			if entry == "us_dates.csv" || entry == "dashed_dates.csv" || entry == "seconds_missing.csv" {
				last = last.Truncate(time.Minute)
			}
			if want := wantOrders(last); !reflect.DeepEqual(b.Invoices, want) {
				for i := range min(len(want), len(b.Invoices)) {
					t.Errorf("%+v\nwant %+v", *b.Invoices[i], *want[i])
				}
			}
			if got := strings.Join(b.Format.Notes(), "\n"); got != noted[entry] {
				t.Errorf("notes: %q, want %q", got, noted[entry])
			}
		})
	}
	if files < 30 {
		t.Errorf("only %d files", files)
	}
}

func list(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// Case: the characters that Windows-1252 has and Latin-1 has not; a quoted field of several lines, one of them empty.
func TestTextOfFields(t *testing.T) {
	for name, want := range map[string]string{"windows1252.csv": "“FIFTY” € – TOWEL", "quoted_lines.csv": "TEA\nTOWEL, \"L\"\n\nSIZE"} {
		b, bad := readFile(t, name, Options{})
		if len(bad) != 0 || b.Rows != 1 || b.Invoices[0].Lines[0].Description != want {
			t.Errorf("%s: %d rows, %q; want %q", name, b.Rows, bad, want)
		}
	}
}

// Case: the order of day and month: as other dates of the file show it, as asked for, and in a file that has both.
func TestOrderOfDayAndMonth(t *testing.T) {
	row := func(date string) string { return "1,A,x,1," + date + ",1.00,,UK\n" }
	for _, c := range []struct {
		dates []string
		asked DateOrder
		want  string // the first date, the bad rows and the note, or the error
	}{
		{[]string{"2/1/2011", "13/1/2011"}, FromFile, "2011-01-02 0 dates like 2/1/2011 are taken as day/month/year, since line 3 has 13/1/2011"},
		{[]string{"02-01-2011", "01-13-2011"}, FromFile, "2011-02-01 0 dates like 02-01-2011 are taken as month/day/year, since line 3 has 01-13-2011"},
		{[]string{"2/1/2011"}, DayFirst, "2011-01-02 0 dates like 2/1/2011 are taken as day/month/year, as asked"},
		{[]string{"2/1/2011", "13/1/2011"}, MonthFirst, "2011-02-01 1 dates like 2/1/2011 are taken as month/day/year, as asked"},
		{[]string{"2/1/2011", "31/31/2011"}, FromFile, "2011-02-01 1 dates like 2/1/2011 are taken as month/day/year; no date of the file shows it: --date-format dmy takes them as day/month/year"},
		{[]string{"2011-02-01", "40513"}, FromFile, "2011-02-01 0 "},
		{[]string{"1/13/2011", "13/1/2011"}, FromFile, `line 3 has the date "13/1/2011", with the day first, and line 2 has "1/13/2011", with the month first: ` +
			`name the order that is right with --date-format (dmy or mdy); the other rows are then left out`},
	} {
		var lines strings.Builder
		for _, d := range c.dates {
			lines.WriteString(row(d))
		}
		bad := 0
		b, err := Options{Dates: c.asked}.Read(strings.NewReader(headerLine+lines.String()), func(BadRow) { bad++ })
		got := ""
		if err != nil {
			if _, ok := errors.AsType[*DateOrderError](err); !ok {
				t.Errorf("%v: a %T", c.dates, err)
			}
			got = err.Error()
		} else {
			got = strings.Join([]string{b.Invoices[0].At.Format(time.DateOnly), string(rune('0' + bad)), strings.Join(b.Format.Notes(), "; ")}, " ")
		}
		if got != c.want {
			t.Errorf("%v %s: %q\nwant %q", c.dates, c.asked, got, c.want)
		}
	}
}

func TestDatesThatAreNone(t *testing.T) {
	for _, s := range []string{"", "2010", "yesterday", "2010-13-01", "2010-02-30", "2010-12-01 24:00", "2010-12-01 08:60", "2010-12-01 8", "1-2/2010",
		"12/1/2010 13:00 PM", "0/1/2010", "1/1/210", "2010-12-01T08:26:00+25:00", "2010-12-01 08:26:00 CET", "40513,3,1", "123456", "1-Foo-2010", "-1/2/2010"} {
		d, ok := scanDate(s)
		if ok {
			_, ok = d.time(MonthFirst)
		}
		if ok {
			t.Errorf("%q is taken for a date", s)
		}
	}
}

// Case: prices and quantities by the decimal mark of the file. "1,234" and "1.234" can be two numbers each: they are read by
// what the other prices show, and refused where none does; a lone "1.234" keeps its decimal point.
func TestNumbersByTheDecimalMark(t *testing.T) {
	type want map[decimalMark]string
	all := func(s string) want { return want{markUnknown: s, markPoint: s, markComma: s, markMixed: s} }
	for s, w := range map[string]want{
		"2.55": all("255"), "2,55": all("255"), "2,5": all("250"), ",5": all("50"), "3": all("300"), "-2,55": all("-255"),
		"1,234.50": all("123450"), "1.234,50": all("123450"), "1 234,50": all("123450"), "1'234.50": all("123450"), "1’234": all("123400"),
		"1,234,567": all("123456700"), "1.234.567": all("123456700"), "1,234,567.5": all("123456750"), "0,125": all("13"), "0.125": all("13"), "1234,567": all("123457"),
		"1,234":    {markUnknown: "", markPoint: "123400", markComma: "123", markMixed: ""},
		"1.234":    {markUnknown: "123", markPoint: "123", markComma: "123400", markMixed: ""},
		"12,34,56": all(""), "1,2345.5": all(""), "1.23,456.7": all(""), "1 23": all(""), "1,,2": all(""), "£2": all(""), "": all(""), ",": all(""), "1e3": all(""),
		"10,000,000,000": all(""),
	} {
		for mark, pence := range w {
			p, err := priceOf(s, mark)
			got := ""
			if err == nil {
				got = strconv.FormatInt(p.pence, 10)
			}
			if got != pence {
				t.Errorf("%q with mark %q: %s %v, want %q", s, mark, got, err, pence)
			}
		}
	}
	for s, w := range map[string]want{
		"6": all("6"), "-6": all("-6"), "6.0": all("6"), "6,00": all("6"), "1 000": all("1000"), "1,000,000": all("1000000"), "6.5": all(""), "": all(""), "six": all(""), "0x6": all(""),
		"1,234": {markUnknown: "1234", markPoint: "1234", markComma: "", markMixed: "1234"},
		"1.234": {markUnknown: "1234", markPoint: "", markComma: "1234", markMixed: "1234"},
		"1,000": {markUnknown: "", markPoint: "1000", markComma: "1", markMixed: ""},
		"1.000": {markUnknown: "", markPoint: "1", markComma: "1000", markMixed: ""},
	} {
		for mark, quantity := range w {
			n, err := quantityOf(s, mark)
			got := ""
			if err == nil {
				got = strconv.FormatInt(n, 10)
			}
			if got != quantity {
				t.Errorf("quantity %q with mark %q: %s %v, want %q", s, mark, got, err, quantity)
			}
		}
	}
}

// Case: what a file as a whole can be refused for, with the reason and the place.
func TestFilesThatAreRefused(t *testing.T) {
	const good = "1,A,x,1,2010-12-01 08:00:00,1.00,,UK\n"
	for name, c := range map[string]struct{ text, want string }{
		"two columns of one name": {strings.TrimSuffix(headerLine, "\n") + ",quantity\n" + good,
			"line 1: columns 4 and 9 are both called quantity: rename or remove one"},
		"two names of one column": {strings.TrimSuffix(headerLine, "\n") + ",Price\n" + good,
			"line 1: columns 6 (UnitPrice) and 9 (Price) mean the same: remove one"},
		"no price": {strings.Replace(headerLine, "UnitPrice", "Cost", 1),
			"line 1: no column UnitPrice (the header must name InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country)"},
		"another separator than named": {"\nsep=;\n" + headerLine, "line 3: no column InvoiceNo (the header must name InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country)"},
		"two characters as separator":  {"sep=||\n" + headerLine, "line 1: sep=|| does not name a separator: one character is expected, such as ; or a tab"},
		"every row is bad": {headerLine + "1,A,x,one,2010-12-01,1,,UK\n1,A,x,two,2010-12-01,1,,UK\n",
			`none of its 2 rows can be used; the first: line 2, column 7 (Quantity): "one" is not a whole number`},
		"the only row is bad": {headerLine + "1,A\n", `its only row cannot be used: line 2, column 3: 2 fields where the header has 8`},
		"a spreadsheet":       {"PK\x03\x04\x14\x00", "it is a spreadsheet (.xlsx) or a zip archive: save the sheet as CSV, or unpack the archive"},
		"UTF-32":              {"\xff\xfe\x00\x00I\x00\x00\x00", "it is encoded in UTF-32: save it as UTF-8"},
		"half a character":    {"\xff\xfeI\x00n", "it is encoded in UTF-16 and ends inside a character"},
	} {
		told := 0
		_, err := Read(strings.NewReader(c.text), func(BadRow) { told++ })
		if err == nil || err.Error() != c.want || told != 0 {
			t.Errorf("%s: %v, %d rows told\nwant %s", name, err, told, c.want)
		}
	}
}

// Case: a file of UTF-8 in which a row has a damaged byte. That row is bad, and the others keep their characters.
func TestDamagedUTF8(t *testing.T) {
	b, bad := read(t, "1,A,CAFÉ ÉTÉ,1,2010-12-01,1,,UK\n1,A,CAF\xe9,1,2010-12-01,1,,UK\n")
	if len(bad) != 1 || bad[0] != "line 3, column 8: bytes that are not UTF-8, in a file that is otherwise" || b.Invoices[0].Lines[0].Description != "CAFÉ ÉTÉ" {
		t.Errorf("%q, %+v", bad, b.Invoices[0])
	}
}

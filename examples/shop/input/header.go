package input

import (
	"fmt"
	"strings"
	"unicode"
)

// HeaderError is the error of a file that does not begin with the header of a CSV file of orders.
type HeaderError struct {
	Line   int // line number, from 1
	Reason string
}

func (e *HeaderError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// The columns of a file, which may be in any order.
const (
	colInvoiceNo = iota
	colStockCode
	colDescription
	colQuantity
	colInvoiceDate
	colUnitPrice
	colCustomerID
	colCountry
	columnCount
)

// columnNames has the names that each column may have in a header: first the name in the data set Online Retail, then
// the one in Online Retail II if it differs. Case, white space, "_" and "-" are ignored.
var columnNames = [columnCount][]string{
	{"InvoiceNo", "Invoice"}, {"StockCode"}, {"Description"}, {"Quantity"}, {"InvoiceDate"}, {"UnitPrice", "Price"},
	{"CustomerID"}, {"Country"},
}

// separators are tried in this order if the file does not name its own. The one with which the header has the most of
// the columns is taken; of equal ones, the first. If columns are missing, the error is the one with that separator.
const separators = ",;\t|"

// header describes how the rows of a file are laid out.
type header struct {
	separator byte
	where     [columnCount]int    // index of each column in a row
	names     [columnCount]string // names as they are written in the header
	width     int                 // number of fields in a row
}

// readHeader reads the beginning of a file up to and including its header: empty lines, an optional line "sep=;" as
// Excel writes it, and the names of the columns. If there is no such line, it tries separators.
func readHeader(l *lines) (header, error) {
	var named byte
	for {
		line, ok := l.first(1)
		if !ok {
			return header{}, &HeaderError{l.number + 1, "the file has no header"}
		}
		l.skip(1)
		if strings.TrimSpace(line) == "" {
			continue
		}
		value, isSep := cutSep(line)
		if !isSep || named != 0 {
			return findHeader(line, l.number, named)
		}
		if len(value) != 1 || value[0] >= 0x80 || strings.ContainsAny(value, "\"\r ") {
			return header{}, &HeaderError{l.number, fmt.Sprintf("sep=%s does not name a separator: one character is expected, such as ; or a tab", value)}
		}
		named = value[0]
	}
}

// cutSep returns the separator that a line such as "sep=;" names. It returns false for any other line.
func cutSep(line string) (string, bool) {
	line = strings.TrimRight(line, "\r")
	if len(line) > 1 && line[0] == '"' && line[len(line)-1] == '"' {
		line = line[1 : len(line)-1]
	}
	if len(line) < 4 || !strings.EqualFold(line[:4], "sep=") {
		return "", false
	}
	return line[4:], true
}

// findHeader parses a header line with the separator named or, if named is 0, with the best one of separators. number
// is the number of the line.
func findHeader(line string, number int, named byte) (header, error) {
	if named != 0 {
		h, _, err := parseHeader(line, number, named)
		return h, err
	}
	var best header
	var bestErr error
	most := -1
	for _, separator := range []byte(separators) {
		h, found, err := parseHeader(line, number, separator)
		if found > most {
			best, bestErr, most = h, err, found
		}
	}
	return best, bestErr
}

// parseHeader parses a header line with a separator. number is the number of the line. found is the number of columns
// that the header has, also if there is an error.
func parseHeader(line string, number int, separator byte) (h header, found int, err error) {
	fail := func(format string, args ...any) (header, int, error) {
		return header{}, found, &HeaderError{number, fmt.Sprintf(format, args...)}
	}
	fields, err := split(nil, line, separator)
	if err != nil {
		return fail("not CSV: %v", err)
	}
	h = header{separator: separator, width: len(fields)}
	indexes := map[string]int{} // indexes of fields by columnKey
	var duplicate error
	for i, f := range fields {
		key := columnKey(f.text)
		if first, ok := indexes[key]; ok && key != "" && duplicate == nil {
			duplicate = fmt.Errorf("columns %d and %d are both called %s: rename or remove one", first+1, i+1, strings.TrimSpace(f.text))
		}
		indexes[key] = i
	}
	missing := ""
	for col, names := range columnNames {
		h.where[col] = -1
		for _, name := range names {
			i, ok := indexes[columnKey(name)]
			if !ok {
				continue
			}
			if h.where[col] >= 0 {
				duplicate = fmt.Errorf("columns %d (%s) and %d (%s) mean the same: remove one", h.where[col]+1, h.names[col], i+1, strings.TrimSpace(fields[i].text))
			}
			h.where[col], h.names[col] = i, strings.TrimSpace(fields[i].text)
		}
		if h.where[col] >= 0 {
			found++
		} else if missing == "" {
			missing = names[0]
		}
	}
	switch {
	case missing != "":
		return fail("no column %s (the header must name %s)", missing, expectedColumns())
	case duplicate != nil:
		return fail("%v", duplicate)
	}
	return h, found, nil
}

// columnKey returns a form of name that is the same for all spellings of a column's name.
func columnKey(name string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '_' || r == '-' {
			return -1
		}
		return r
	}, name))
}

// expectedColumns returns the names of all columns, for errors.
func expectedColumns() string {
	var all []string
	for _, names := range columnNames {
		all = append(all, names[0])
	}
	return strings.Join(all, ", ")
}

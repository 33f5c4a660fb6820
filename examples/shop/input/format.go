package input

import (
	"fmt"
	"strings"
)

// Format describes how a file was read.
type Format struct {
	Encoding  Encoding
	Separator byte
	Dates     DateOrder // order of day and month in dates with the year last
	dates     string    // a sentence on how such dates were read; "" if there are none
	mark      decimalMark
}

// Notes returns sentences about how the file was read that a user may want to know: about an encoding other than
// UTF-8, the order of day and month, and decimal commas.
func (f Format) Notes() []string {
	var notes []string
	if f.Encoding != UTF8 {
		notes = append(notes, fmt.Sprintf("its characters are taken as %s", f.Encoding))
	}
	if f.dates != "" {
		notes = append(notes, f.dates)
	}
	switch f.mark {
	case markComma:
		notes = append(notes, "commas in its prices are taken as decimal commas")
	case markMixed:
		notes = append(notes, "some of its prices have decimal commas, and some decimal points")
	}
	return notes
}

// choose sets the order of dates and the decimal mark by what the rows of the file show. asked is the order that the
// caller has given, or FromFile. The error is a *DateOrderError.
func (f *Format) choose(h header, l lines, asked DateOrder) (err error) {
	var dates dateOrder
	seen := map[string]bool{}
	for row := range h.rows(l) {
		if row.err != nil {
			continue
		}
		if text := strings.TrimSpace(row.fields[h.where[colInvoiceDate]].text); !seen[text] {
			seen[text] = true
			if d, ok := scanDate(text); ok {
				dates.see(row.line, text, d)
			}
		}
		if n, ok := scanNumber(strings.TrimSpace(row.fields[h.where[colUnitPrice]].text)); ok {
			f.mark = f.mark.and(n.mark())
		}
	}
	f.Dates, f.dates, err = dates.choose(asked)
	return err
}

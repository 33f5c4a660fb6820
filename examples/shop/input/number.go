package input

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// decimalMark is the character before the fraction in the numbers of a file.
type decimalMark byte

const (
	markUnknown decimalMark = 0 // no number shows which it is
	markPoint   decimalMark = '.'
	markComma   decimalMark = ','
	markMixed   decimalMark = '?' // some numbers show the one, and some the other
)

// and returns the mark of a file in which one number shows m and another number shows other.
func (m decimalMark) and(other decimalMark) decimalMark {
	switch {
	case m == markUnknown || m == other:
		return other
	case other == markUnknown:
		return m
	}
	return markMixed
}

var (
	errNotNumber = errors.New("not a number")
	errTwoWays   = errors.New("its comma or point can be a decimal mark or a thousands separator, and no other number of the file shows which")
)

// number is a number as it is written, split into groups of digits and the separators between them. A separator is
// '.', ',' or ' '; the last also stands for other blanks and apostrophes.
type number struct {
	negative   bool
	groups     []string
	separators []byte
}

// scanNumber splits a number into its groups. It returns false if s has characters other than digits, separators, and
// a sign at the beginning.
func scanNumber(s string) (n number, ok bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.negative, s = s[0] == '-', s[1:]
	}
	begin := 0
	for i, c := range s {
		switch c {
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			continue
		case '.', ',':
			n.separators = append(n.separators, byte(c))
		case ' ', '\u00a0', '\u202f', '\'', '’':
			n.separators = append(n.separators, ' ')
		default:
			return number{}, false
		}
		n.groups = append(n.groups, s[begin:i])
		begin = i + len(string(c))
	}
	n.groups = append(n.groups, s[begin:])
	return n, true
}

// twoWays reports whether the number is like 1,234 or 1.234, so that its only separator may be a thousands separator
// or a decimal mark.
func (n number) twoWays() bool {
	return len(n.separators) == 1 && n.separators[0] != ' ' && n.isGrouped()
}

// isGrouped reports whether the groups are as thousands separators make them: the first with 1 to 3 digits, and not
// beginning with 0, and the others with 3 digits each.
func (n number) isGrouped() bool {
	first := n.groups[0]
	if len(first) < 1 || len(first) > 3 || first[0] == '0' {
		return false
	}
	for _, g := range n.groups[1:] {
		if len(g) != 3 {
			return false
		}
	}
	return true
}

// mark returns the decimal mark that the number shows, or markUnknown if it does not show one.
func (n number) mark() decimalMark {
	if len(n.separators) == 0 || n.twoWays() {
		return markUnknown
	}
	last := n.separators[len(n.separators)-1]
	for _, s := range n.separators[:len(n.separators)-1] {
		if s != last {
			return decimalMark(last) // the separators before it are for thousands
		}
		switch s {
		case '.': // a decimal mark cannot occur twice
			return markComma
		case ',':
			return markPoint
		}
	}
	if last == ' ' {
		return markUnknown
	}
	return decimalMark(last)
}

// plain returns the number without thousands separators and with a decimal point. mark is the decimal mark of the
// file. The error is errNotNumber if the groups are not valid, or errTwoWays if the file does not show what the
// separator means.
func (n number) plain(mark decimalMark) (string, error) {
	if n.twoWays() {
		switch {
		case mark == markMixed, mark == markUnknown && n.separators[0] == ',':
			return "", errTwoWays
		case mark == markUnknown:
			mark = markPoint
		}
	} else {
		mark = n.mark()
	}
	whole, fraction := n, ""
	if k := len(n.separators); k > 0 && decimalMark(n.separators[k-1]) == mark {
		whole.separators, whole.groups, fraction = n.separators[:k-1], n.groups[:k], "."+n.groups[k]
	}
	for _, s := range whole.separators {
		if s != whole.separators[0] || !whole.isGrouped() {
			return "", errNotNumber
		}
	}
	sign := ""
	if n.negative {
		sign = "-"
	}
	return sign + strings.Join(whole.groups, "") + fraction, nil
}

// priceOf parses a price in a file with the given decimal mark.
func priceOf(s string, mark decimalMark) (price, error) {
	n, ok := scanNumber(s)
	if s == "" || !ok {
		return parsePrice(s) // returns the error of the price
	}
	text, err := n.plain(mark)
	if errors.Is(err, errNotNumber) {
		return price{}, errNotPrice
	}
	if err != nil {
		return price{}, err
	}
	return parsePrice(text)
}

// quantityOf parses a whole number in a file with the given decimal mark.
func quantityOf(s string, mark decimalMark) (int64, error) {
	notWhole := fmt.Errorf("%q is not a whole number", s)
	n, ok := scanNumber(s)
	if !ok {
		return 0, notWhole
	}
	if n.twoWays() && (mark == markUnknown || mark == markMixed) {
		if n.groups[1] == "000" { // 1,000 could be 1 or 1000, both whole numbers
			return 0, fmt.Errorf("%q: %w", s, errTwoWays)
		}
		mark = n.asThousands()
	}
	text, err := n.plain(mark)
	if err != nil {
		return 0, notWhole
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, notWhole
	}
	quantity, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, notWhole
	}
	if quantity > maxQuantity || quantity < -maxQuantity {
		return 0, fmt.Errorf("a quantity beyond ±%d", maxQuantity)
	}
	return quantity, nil
}

// asThousands returns the decimal mark of a file in which the number's only separator is a thousands separator.
func (n number) asThousands() decimalMark {
	if n.separators[0] == ',' {
		return markPoint
	}
	return markComma
}

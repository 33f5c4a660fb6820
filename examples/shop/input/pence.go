package input

import (
	"errors"
	"strings"
)

// maxPence is the highest price that is accepted, in pence: ten million pounds.
const maxPence = 1_000_000_000

// price is a parsed price. A positive price may be rounded to zero pence, so the sign is kept as well.
type price struct {
	pence int64
	sign  int // sign of the price as it is written: -1, 0 or 1
}

var (
	errNoPrice   = errors.New("no price")
	errNotPrice  = errors.New("not a price in pounds, like 2.55")
	errPriceSize = errors.New("a price beyond ten million pounds")
)

// parsePrice parses an amount in pounds, such as "2.55", and rounds it to pence, half a penny up: floor(100·pounds +
// 1/2). It computes with the digits, because binary floating point would round 1.005 pounds to 100 pence.
func parsePrice(s string) (price, error) {
	if s == "" {
		return price{}, errNoPrice
	}
	digits, negative := s, false
	switch s[0] {
	case '-':
		digits, negative = s[1:], true
	case '+':
		digits = s[1:]
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" && fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return price{}, errNotPrice
	}

	// The first two decimals are pence. Of the decimals after them it only matters whether they are less than, equal
	// to or more than half a penny.
	padded := fraction + "00"
	var pence int64
	for _, c := range whole + padded[:2] {
		if pence = pence*10 + int64(c-'0'); pence > maxPence {
			return price{}, errPriceSize
		}
	}
	rest := strings.TrimRight(padded[2:], "0")
	p := price{pence: pence}
	if pence != 0 || rest != "" {
		p.sign = 1
	}
	aboveHalf := rest != "" && (rest[0] > '5' || rest[0] == '5' && len(rest) > 1)
	half := rest == "5"
	if aboveHalf || half && !negative {
		p.pence++
	}
	if negative {
		p.pence, p.sign = -p.pence, -p.sign
	}
	return p, nil
}

// allDigits reports whether s has only decimal digits. It returns true for "".
func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

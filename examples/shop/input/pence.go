package input

import (
	"errors"
	"strings"
)

// maxPence bounds one price: ten million pounds.
const maxPence = 1_000_000_000

// price is a parsed UnitPrice. A price above zero may round to zero pence, so the sign is kept beside the pence.
type price struct {
	pence int64
	sign  int // of the price as written: -1, 0 or 1
}

var (
	errNoPrice   = errors.New("no price")
	errNotPrice  = errors.New("not a price in pounds, like 2.55")
	errPriceSize = errors.New("a price beyond ten million pounds")
)

// parsePrice turns pounds as written ("2.55") into pence, halves rounded up: floor(100·pounds + 1/2). It works on the
// digits, since binary floating point turns 1.005 pounds into 100 pence.
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

	// The first two decimals are pence; what follows is less than a penny, and only its size against a half matters.
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

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

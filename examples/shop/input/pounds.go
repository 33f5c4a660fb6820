package input

import (
	"errors"
	"fmt"
)

// Pounds is an amount of money in pence that is written in pounds, such as "5000.00". *Pounds implements flag.Value.
type Pounds int64

// String implements flag.Value.
func (p *Pounds) String() string { return fmt.Sprintf("%d.%02d", *p/100, *p%100) }

// Type returns the name of the kind of value, for help texts.
func (p *Pounds) Type() string { return "pounds" }

// Set implements flag.Value. It parses an amount in pounds, such as 5000.00, and returns an error if it is negative.
func (p *Pounds) Set(s string) error {
	amount, err := parsePrice(s)
	switch {
	case err != nil:
		return err
	case amount.sign < 0:
		return errors.New("below zero")
	}
	*p = Pounds(amount.pence)
	return nil
}

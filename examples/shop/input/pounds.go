package input

import (
	"errors"
	"fmt"
)

// Pounds is an amount of money in pence that is written in pounds ("5000.00"). As a pointer it is a value for flags.
type Pounds int64

func (p *Pounds) String() string { return fmt.Sprintf("%d.%02d", *p/100, *p%100) }

// Type names the kind of value in a help text.
func (p *Pounds) Type() string { return "pounds" }

// Set takes pounds of at most two decimals, not below zero.
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

// Package orders announces the invoices of a file as facts: orders placed, orders refused, returns accepted. It only
// emits. What follows from its facts is the business of whoever reacts.
package orders

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
	"tidings.dev/examples/shop/input"
)

// An announcement is the one fact that an invoice becomes.
type announcement struct {
	id   string // derived from the invoice number, the same in every run
	emit func(ctx context.Context, id string) error
}

// EventID is the id of the fact that an invoice becomes, and so of the story that begins with it.
func EventID(i *input.Invoice) string { return announce(i).id }

// announce decides what an invoice becomes.
func announce(i *input.Invoice) announcement {
	subject := facts.OrderSubject(i.No)
	switch {
	case i.Return():
		return of(facts.ReturnAccepted, facts.ReturnSubject(i.No)+"/accepted", facts.Return{
			No: i.No, At: i.At, Customer: i.Customer, Country: i.Country,
			Lines: lines(i.Lines), Adjustments: lines(i.Adjustments), RefundPence: i.TotalPence,
		})
	case len(i.Lines) == 0:
		return of(facts.OrderRefused, subject+"/refused", facts.Refusal{
			No: i.No, At: i.At, Customer: i.Customer, Reason: "no line with a quantity and a price above zero",
			Adjustments: lines(i.Adjustments),
		})
	}
	return of(facts.OrderPlaced, subject+"/placed", facts.Order{
		No: i.No, At: i.At, Customer: i.Customer, Country: i.Country,
		Lines: lines(i.Lines), Adjustments: lines(i.Adjustments), TotalPence: i.TotalPence,
	})
}

func of[T any](fact *tidings.Fact[T], id string, data T) announcement {
	return announcement{id, func(ctx context.Context, id string) error {
		_, err := fact.Emit(ctx, data, tidings.ID(id))
		return err
	}}
}

func lines(in []input.Line) []facts.Line {
	var out []facts.Line
	for _, l := range in {
		out = append(out, facts.Line(l))
	}
	return out
}

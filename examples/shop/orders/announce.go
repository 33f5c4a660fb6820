// Package orders is the shop's orders service. It announces the invoices of a file as facts: orders placed, orders
// refused, and returns accepted. It reacts to nothing; the other services react to its facts.
package orders

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
	"tidings.dev/examples/shop/input"
)

// announcement is the one fact that is emitted for an invoice.
type announcement struct {
	id string // derived from the invoice number, so the same in every run
	// emit emits the fact with this id, and blocks until it is durable.
	emit func(ctx context.Context, id string) error
}

// EventID returns the id of the fact that is emitted for an invoice. It is also the id of the story that begins with
// the fact.
func EventID(i *input.Invoice) string { return announce(i).id }

// announce returns the announcement of an invoice.
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

// of returns the announcement of data as a fact with this id.
func of[T any](fact *tidings.Fact[T], id string, data T) announcement {
	return announcement{id, func(ctx context.Context, id string) error {
		_, err := fact.Emit(ctx, data, tidings.ID(id))
		return err
	}}
}

// lines returns invoice lines as lines of a fact.
func lines(in []input.Line) []facts.Line {
	var out []facts.Line
	for _, l := range in {
		out = append(out, facts.Line(l))
	}
	return out
}

// Package fraud flags orders that deserve a second look. It came after all the others and changed none of them: it reads
// the shop's history from the beginning, and its fact is its own.
package fraud

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// DefaultAbovePence is what nobody we know may order without being looked at: 500 pounds.
const DefaultAbovePence = 500_00

// Flagged says that an order deserves a second look.
var Flagged = tidings.Define[Flag]("shop.fraud.flagged", tidings.In(facts.Topic), tidings.Subject(func(f Flag) string { return facts.OrderSubject(f.No) }))

// Flag is why.
type Flag struct {
	No     string `json:"no"`
	Pence  int64  `json:"pence"`
	Reason string `json:"reason"`
}

// Register makes app the fraud service. It flags orders of no known customer above so many pence.
func Register(app *tidings.App, abovePence int64) {
	tidings.React(app, facts.OrderPlaced, func(ctx context.Context, e tidings.Event[facts.Order]) error {
		if !suspicious(e.Data, abovePence) {
			return nil
		}
		_, err := Flagged.Emit(ctx, Flag{No: e.Data.No, Pence: e.Data.TotalPence, Reason: "a large order of nobody we know"})
		return err
	}, tidings.FromBeginning())
}

func suspicious(o facts.Order, abovePence int64) bool {
	return o.Customer == "" && o.TotalPence > abovePence
}

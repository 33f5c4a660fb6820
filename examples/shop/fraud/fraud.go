// Package fraud is the shop's fraud service, which flags suspicious orders. It can be added while the shop is running,
// without a change of any other service: it reacts to orders from the oldest one on, and defines its fact itself.
package fraud

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// DefaultAbovePence is the total above which an order of an unknown customer is flagged: 500 pounds.
const DefaultAbovePence = 500_00

// Flagged is the fact that an order is suspicious.
var Flagged = tidings.Define[Flag]("shop.fraud.flagged", tidings.In(facts.Topic), tidings.Subject(func(f Flag) string { return facts.OrderSubject(f.No) }))

// Flag is the data of Flagged.
type Flag struct {
	No     string `json:"no"`
	Pence  int64  `json:"pence"`
	Reason string `json:"reason"`
}

// Register adds the fraud service to app. It flags orders of unknown customers whose total is above abovePence.
func Register(app *tidings.App, abovePence int64) {
	tidings.React(app, facts.OrderPlaced, func(ctx context.Context, e tidings.Event[facts.Order]) error {
		if !suspicious(e.Data, abovePence) {
			return nil
		}
		_, err := Flagged.Emit(ctx, Flag{No: e.Data.No, Pence: e.Data.TotalPence, Reason: "a large order of an unknown customer"})
		return err
	}, tidings.FromBeginning())
}

// suspicious reports whether an order is to be flagged.
func suspicious(o facts.Order, abovePence int64) bool {
	return o.Customer == "" && o.TotalPence > abovePence
}

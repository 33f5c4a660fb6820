// Package cancellation is the shop's cancellation service. It cancels an order when its payment is declined: it emits
// OrderCancelled, and the services that have done something for the order react to that and undo it.
package cancellation

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Register adds the cancellation service to app.
func Register(app *tidings.App) {
	tidings.React(app, facts.PaymentDeclined, cancel, tidings.FromBeginning())
}

func cancel(ctx context.Context, e tidings.Event[facts.Decline]) error {
	_, err := facts.OrderCancelled.Emit(ctx, facts.Cancellation{No: e.Data.No, Customer: e.Data.Customer, Reason: "payment declined: " + e.Data.Reason})
	return err
}

// Package cancellation calls off an order whose payment was declined. Who has begun something for the order reacts to
// that and undoes it.
package cancellation

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Register makes app the cancellation service.
func Register(app *tidings.App) {
	tidings.React(app, facts.PaymentDeclined, cancel, tidings.FromBeginning())
}

func cancel(ctx context.Context, e tidings.Event[facts.Decline]) error {
	_, err := facts.OrderCancelled.Emit(ctx, facts.Cancellation{No: e.Data.No, Customer: e.Data.Customer, Reason: "payment declined: " + e.Data.Reason})
	return err
}

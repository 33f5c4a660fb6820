// Package email writes to customers: a receipt for what they paid, and word of a cancellation. That a customer could not
// be written to is a fact too, and holds nothing up.
package email

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// The kinds of email.
const (
	Receipt      = "receipt"
	Cancellation = "cancellation"
)

// Register makes app the email service.
func Register(app *tidings.App) {
	tidings.React(app, facts.PaymentCaptured, func(ctx context.Context, e tidings.Event[facts.Payment]) error {
		return write(ctx, e.Data.No, e.Data.Customer, Receipt)
	}, tidings.FromBeginning())
	tidings.React(app, facts.OrderCancelled, func(ctx context.Context, e tidings.Event[facts.Cancellation]) error {
		return write(ctx, e.Data.No, e.Data.Customer, Cancellation)
	}, tidings.FromBeginning())
}

// write would hand the email to a mail server under the event's idempotency key; the shop's mail server is the log.
func write(ctx context.Context, no, customer, kind string) error {
	email := facts.Email{No: no, Customer: customer, Kind: kind}
	if customer == "" {
		email.Reason = "no customer"
		_, err := facts.EmailFailed.Emit(ctx, email)
		return err
	}
	_, err := facts.EmailSent.Emit(ctx, email)
	return err
}

// Package email is the shop's email service. It sends customers a receipt when they have paid, and a notice when an
// order is cancelled. If an email cannot be sent, it emits the fact EmailFailed; the handler does not fail.
package email

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// The kinds of email, as in the field Kind of [facts.Email].
const (
	Receipt      = "receipt"
	Cancellation = "cancellation"
)

// Register adds the email service to app.
func Register(app *tidings.App) {
	tidings.React(app, facts.PaymentCaptured, func(ctx context.Context, e tidings.Event[facts.Payment]) error {
		return write(ctx, e.Data.No, e.Data.Customer, Receipt)
	}, tidings.FromBeginning())
	tidings.React(app, facts.OrderCancelled, func(ctx context.Context, e tidings.Event[facts.Cancellation]) error {
		return write(ctx, e.Data.No, e.Data.Customer, Cancellation)
	}, tidings.FromBeginning())
}

// write emits the fact that an email was sent, or that it failed because the customer is not known. It takes the place
// of a call of a mail server, which a real service would make with the event's idempotency key, [tidings.Meta.Key].
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

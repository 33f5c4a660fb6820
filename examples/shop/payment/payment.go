// Package payment is the shop's payment service. It captures or declines the payment of an order, and refunds returns.
package payment

import (
	"context"
	"fmt"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// DefaultDeclineAbovePence is the total above which a payment is declined: 5,000 pounds.
const DefaultDeclineAbovePence = 5000_00

// Register adds the payment service to app. It declines totals above declineAbovePence.
func Register(app *tidings.App, declineAbovePence int64) {
	bank := bank{declineAbovePence}
	tidings.React(app, facts.OrderPlaced, bank.capture, tidings.FromBeginning())
	tidings.React(app, facts.ReturnAccepted, refund, tidings.FromBeginning())
}

// bank takes the place of a payment provider.
type bank struct{ declineAbovePence int64 }

// capture handles OrderPlaced.
func (b bank) capture(ctx context.Context, e tidings.Event[facts.Order]) error {
	order := e.Data
	if reason := b.decline(order.TotalPence); reason != "" {
		_, err := facts.PaymentDeclined.Emit(ctx, facts.Decline{No: order.No, Customer: order.Customer, Pence: order.TotalPence, Reason: reason})
		return err
	}
	_, err := facts.PaymentCaptured.Emit(ctx, facts.Payment{No: order.No, Customer: order.Customer, Pence: order.TotalPence})
	return err
}

// decline returns the reason for which the payment of a total is declined, or "" if it is not declined.
func (b bank) decline(pence int64) string {
	if pence <= b.declineAbovePence {
		return ""
	}
	return fmt.Sprintf("above the limit of %d.%02d pounds", b.declineAbovePence/100, b.declineAbovePence%100)
}

// refund handles ReturnAccepted.
func refund(ctx context.Context, e tidings.Event[facts.Return]) error {
	_, err := facts.PaymentRefunded.Emit(ctx, facts.Refund{No: e.Data.No, Customer: e.Data.Customer, Pence: e.Data.RefundPence})
	return err
}

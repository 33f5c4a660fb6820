// Package payment captures what an order costs, or declines it, and refunds returns.
package payment

import (
	"context"
	"fmt"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// DefaultDeclineAbovePence is the limit of the shop's bank: 5,000 pounds.
const DefaultDeclineAbovePence = 5000_00

// Register makes app the payment service. It declines totals above declineAbovePence.
func Register(app *tidings.App, declineAbovePence int64) {
	bank := bank{declineAbovePence}
	tidings.React(app, facts.OrderPlaced, bank.capture, tidings.FromBeginning())
	tidings.React(app, facts.ReturnAccepted, refund, tidings.FromBeginning())
}

type bank struct{ declineAbovePence int64 }

func (b bank) capture(ctx context.Context, e tidings.Event[facts.Order]) error {
	order := e.Data
	if reason := b.decline(order.TotalPence); reason != "" {
		_, err := facts.PaymentDeclined.Emit(ctx, facts.Decline{No: order.No, Customer: order.Customer, Pence: order.TotalPence, Reason: reason})
		return err
	}
	_, err := facts.PaymentCaptured.Emit(ctx, facts.Payment{No: order.No, Customer: order.Customer, Pence: order.TotalPence})
	return err
}

// decline returns why a total is declined, or "".
func (b bank) decline(pence int64) string {
	if pence <= b.declineAbovePence {
		return ""
	}
	return fmt.Sprintf("above the limit of %d.%02d pounds", b.declineAbovePence/100, b.declineAbovePence%100)
}

func refund(ctx context.Context, e tidings.Event[facts.Return]) error {
	_, err := facts.PaymentRefunded.Emit(ctx, facts.Refund{No: e.Data.No, Customer: e.Data.Customer, Pence: e.Data.RefundPence})
	return err
}

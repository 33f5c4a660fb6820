// Package warehouse ships an order once it is both paid and reserved, whichever comes first.
package warehouse

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Parcel is what the warehouse knows of one order.
type Parcel struct {
	Paid     bool
	Reserved bool
	Units    int64
	ReadyBy  string // id of the event that made it complete: that one ships it, and no other
}

// Register makes app the warehouse service.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.PaymentCaptured, facts.StockReserved), fold, react, tidings.FromBeginning())
}

func fold(p *Parcel, e tidings.Any) {
	if _, ok, _ := facts.PaymentCaptured.From(e); ok {
		p.Paid = true
	}
	if stock, ok, err := facts.StockReserved.From(e); ok && err == nil {
		p.Reserved, p.Units = true, stock.Data.Units
	}
	if p.Paid && p.Reserved && p.ReadyBy == "" {
		p.ReadyBy = e.ID
	}
}

func react(ctx context.Context, p Parcel, e tidings.Any) error {
	if p.ReadyBy != e.ID {
		return nil // not yet, or shipped already
	}
	_, err := facts.ParcelShipped.Emit(ctx, facts.Parcel{No: orderNo(e), Units: p.Units})
	return err
}

func orderNo(e tidings.Any) string {
	if paid, ok, _ := facts.PaymentCaptured.From(e); ok {
		return paid.Data.No
	}
	stock, _, _ := facts.StockReserved.From(e)
	return stock.Data.No
}

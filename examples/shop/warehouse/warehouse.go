// Package warehouse is the shop's warehouse service. It ships an order once the order is paid and reserved, in
// whichever order the two happen.
package warehouse

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Parcel is the state that the warehouse keeps of one order.
type Parcel struct {
	Paid     bool
	Reserved bool
	Units    int64
	// ReadyBy is the id of the event with which the order became both paid and reserved; empty until then. react ships
	// the order when it handles that event.
	ReadyBy string
}

// Register adds the warehouse service to app.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.PaymentCaptured, facts.StockReserved), fold, react, tidings.FromBeginning())
}

// fold changes the state of an order by what the event e says about it.
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

// react ships the order if e is the event that has made it ready.
func react(ctx context.Context, p Parcel, e tidings.Any) error {
	if p.ReadyBy != e.ID {
		return nil // not ready yet, or shipped already
	}
	_, err := facts.ParcelShipped.Emit(ctx, facts.Parcel{No: orderNo(e), Units: p.Units})
	return err
}

// orderNo returns the number of the order that e is about.
func orderNo(e tidings.Any) string {
	if paid, ok, _ := facts.PaymentCaptured.From(e); ok {
		return paid.Data.No
	}
	stock, _, _ := facts.StockReserved.From(e)
	return stock.Data.No
}

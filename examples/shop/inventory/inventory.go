// Package inventory is the shop's inventory service. It reserves stock for an order, releases it when the order is
// cancelled, and restocks what is returned.
package inventory

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Reservation is the state that inventory keeps of one order: the stock that is reserved for it.
type Reservation struct {
	Articles int
	Units    int64
}

// Register adds the inventory service to app.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.OrderPlaced, facts.OrderCancelled, facts.ReturnAccepted), fold, react, tidings.FromBeginning())
}

// fold changes the state of an order by what the event e says about it.
func fold(r *Reservation, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		*r = reserve(order.Data.Lines)
	}
}

// reserve returns the reservation for the lines of an order.
func reserve(lines []facts.Line) Reservation {
	r := Reservation{Articles: len(lines)}
	for _, l := range lines {
		r.Units += l.Quantity
	}
	return r
}

// react emits the fact about stock that follows from the event e.
func react(ctx context.Context, r Reservation, e tidings.Any) error {
	if order, ok, err := facts.OrderPlaced.From(e); ok || err != nil {
		return emit(ctx, facts.StockReserved, order.Data.No, r, err)
	}
	if cancelled, ok, err := facts.OrderCancelled.From(e); ok || err != nil {
		return emit(ctx, facts.StockReleased, cancelled.Data.No, r, err)
	}
	back, _, err := facts.ReturnAccepted.From(e)
	returned := reserve(back.Data.Lines)
	returned.Units = -returned.Units // quantities of a return are negative
	return emit(ctx, facts.StockRestocked, back.Data.No, returned, err)
}

// emit emits a fact about stock, unless err is not nil: then it returns err.
func emit(ctx context.Context, fact *tidings.Fact[facts.Stock], no string, r Reservation, err error) error {
	if err != nil {
		return err
	}
	_, err = fact.Emit(ctx, facts.Stock{No: no, Articles: r.Articles, Units: r.Units})
	return err
}

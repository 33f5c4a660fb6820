// Package inventory sets stock aside for an order, gives it back when the order is cancelled, and takes in what is
// returned.
package inventory

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Reservation is what inventory knows of one order: what is set aside for it.
type Reservation struct {
	Articles int
	Units    int64
}

// Register makes app the inventory service.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.OrderPlaced, facts.OrderCancelled, facts.ReturnAccepted), fold, react, tidings.FromBeginning())
}

func fold(r *Reservation, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		*r = reserve(order.Data.Lines)
	}
}

func reserve(lines []facts.Line) Reservation {
	r := Reservation{Articles: len(lines)}
	for _, l := range lines {
		r.Units += l.Quantity
	}
	return r
}

func react(ctx context.Context, r Reservation, e tidings.Any) error {
	if order, ok, err := facts.OrderPlaced.From(e); ok || err != nil {
		return emit(ctx, facts.StockReserved, order.Data.No, r, err)
	}
	if cancelled, ok, err := facts.OrderCancelled.From(e); ok || err != nil {
		return emit(ctx, facts.StockReleased, cancelled.Data.No, r, err)
	}
	back, _, err := facts.ReturnAccepted.From(e)
	returned := reserve(back.Data.Lines)
	returned.Units = -returned.Units // the books have what is returned below zero
	return emit(ctx, facts.StockRestocked, back.Data.No, returned, err)
}

func emit(ctx context.Context, fact *tidings.Fact[facts.Stock], no string, r Reservation, err error) error {
	if err != nil {
		return err
	}
	_, err = fact.Emit(ctx, facts.Stock{No: no, Articles: r.Articles, Units: r.Units})
	return err
}

// Package loyalty gives a customer a point for each whole pound, and takes points back for what is cancelled or returned.
package loyalty

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Grant is what loyalty knows of one order: the points given for it.
type Grant struct {
	Customer string
	Points   int64
}

// Register makes app the loyalty service.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.OrderPlaced, facts.OrderCancelled, facts.ReturnAccepted), fold, react, tidings.FromBeginning())
}

func fold(g *Grant, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		*g = grant(order.Data.Customer, order.Data.TotalPence)
	}
}

// grant is what so many pence are worth to a customer; nobody we know earns nothing.
func grant(customer string, pence int64) Grant {
	if customer == "" {
		return Grant{}
	}
	return Grant{Customer: customer, Points: pence / 100}
}

func react(ctx context.Context, g Grant, e tidings.Any) error {
	if _, ok, err := facts.OrderPlaced.From(e); ok || err != nil {
		return emit(ctx, facts.PointsEarned, e.Subject, g, err)
	}
	if _, ok, err := facts.OrderCancelled.From(e); ok || err != nil {
		return emit(ctx, facts.PointsRevoked, e.Subject, g, err)
	}
	back, _, err := facts.ReturnAccepted.From(e)
	return emit(ctx, facts.PointsRevoked, e.Subject, grant(back.Data.Customer, back.Data.RefundPence), err)
}

func emit(ctx context.Context, fact *tidings.Fact[facts.Points], about string, g Grant, err error) error {
	switch {
	case err != nil:
		return err
	case g.Customer == "":
		return tidings.Skip("no customer")
	case g.Points == 0:
		return tidings.Skip("less than a pound")
	}
	_, err = fact.Emit(ctx, facts.Points{About: about, Customer: g.Customer, Points: g.Points})
	return err
}

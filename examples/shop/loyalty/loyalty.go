// Package loyalty is the shop's loyalty service. It gives a customer one point for each whole pound of an order, and
// takes points back for orders that are cancelled and for returns.
package loyalty

import (
	"context"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Grant is the state that loyalty keeps of one order: the points that were given for it. Customer is empty if the
// customer is unknown.
type Grant struct {
	Customer string
	Points   int64
}

// Register adds the loyalty service to app.
func Register(app *tidings.App) {
	tidings.ReactWith(app, tidings.Facts(facts.OrderPlaced, facts.OrderCancelled, facts.ReturnAccepted), fold, react, tidings.FromBeginning())
}

// fold changes the state of an order by what the event e says about it.
func fold(g *Grant, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		*g = grant(order.Data.Customer, order.Data.TotalPence)
	}
}

// grant returns the points for a total in pence. An unknown customer gets none.
func grant(customer string, pence int64) Grant {
	if customer == "" {
		return Grant{}
	}
	return Grant{Customer: customer, Points: pence / 100}
}

// react emits the fact about points that follows from the event e.
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

// emit emits a fact about points, or skips the event if there are none. If err is not nil, it returns err.
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

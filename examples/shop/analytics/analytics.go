// Package analytics is the shop's analytics service. It keeps a view of the revenue by country and day, folded from
// the facts OrderPlaced and PaymentCaptured. It emits nothing.
package analytics

import (
	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Sale is the state that analytics keeps of one order.
type Sale struct {
	Country string
	Day     string // the day of the order, such as 2010-12-01
	Pence   int64  // the amount paid; 0 until the payment is captured
}

// Revenue is the view of the revenue by country and day. Its methods are safe for concurrent use.
type Revenue struct{ sales *tidings.States[Sale] }

// Register adds the analytics service to app and returns its view, which is empty until the app runs.
func Register(app *tidings.App) *Revenue {
	return &Revenue{tidings.ReactWith[Sale](app, tidings.Facts(facts.OrderPlaced, facts.PaymentCaptured), fold, nil, tidings.FromBeginning())}
}

// fold changes the state of an order by what the event e says about it.
func fold(s *Sale, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		s.Country, s.Day = order.Data.Country, order.Data.At.Format("2006-01-02")
	}
	if payment, ok, err := facts.PaymentCaptured.From(e); ok && err == nil {
		s.Pence = payment.Data.Pence
	}
}

// Row identifies a row of the view. Day is formatted like 2010-12-01.
type Row struct{ Country, Day string }

// Rows returns the revenue in pence by country and day. Rows without revenue are left out.
func (r *Revenue) Rows() map[Row]int64 {
	rows := map[Row]int64{}
	for _, s := range r.sales.All() {
		if s.Pence != 0 {
			rows[Row{s.Country, s.Day}] += s.Pence
		}
	}
	return rows
}

// Pence returns the revenue of all countries and days, in pence.
func (r *Revenue) Pence() (sum int64) {
	for _, s := range r.sales.All() {
		sum += s.Pence
	}
	return sum
}

// Package analytics is a view: revenue by country and day, out of what was ordered and what was paid. It announces
// nothing.
package analytics

import (
	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

// Sale is what analytics knows of one order.
type Sale struct {
	Country string
	Day     string // 2010-12-01, the day of the order
	Pence   int64  // paid; 0 until then
}

// Revenue is the view.
type Revenue struct{ sales *tidings.States[Sale] }

// Register makes app the analytics service and returns its view, which is empty until the app runs.
func Register(app *tidings.App) *Revenue {
	return &Revenue{tidings.ReactWith[Sale](app, tidings.Facts(facts.OrderPlaced, facts.PaymentCaptured), fold, nil, tidings.FromBeginning())}
}

func fold(s *Sale, e tidings.Any) {
	if order, ok, err := facts.OrderPlaced.From(e); ok && err == nil {
		s.Country, s.Day = order.Data.Country, order.Data.At.Format("2006-01-02")
	}
	if payment, ok, err := facts.PaymentCaptured.From(e); ok && err == nil {
		s.Pence = payment.Data.Pence
	}
}

// Row names a row of the view.
type Row struct{ Country, Day string }

// Rows returns the revenue in pence of each country and day that has any.
func (r *Revenue) Rows() map[Row]int64 {
	rows := map[Row]int64{}
	for _, s := range r.sales.All() {
		if s.Pence != 0 {
			rows[Row{s.Country, s.Day}] += s.Pence
		}
	}
	return rows
}

// Pence is the sum over all rows.
func (r *Revenue) Pence() (sum int64) {
	for _, s := range r.sales.All() {
		sum += s.Pence
	}
	return sum
}

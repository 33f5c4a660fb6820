// Package facts holds what the shop's services tell each other: that something happened. It is all that they share.
//
// Every fact about an order is on topic orders under the order's subject, order/<InvoiceNo>, whoever announces it; and
// every fact about a return under return/<InvoiceNo>. So the log's sequence is the sequence of what happened to it.
// Money is in whole pence. New fields may be added to a fact: services that do not know them go on.
package facts

import (
	"time"

	"tidings.dev"
)

// Topic carries all facts of the shop.
const Topic = "orders"

// The facts of an order, and of a return.
var (
	OrderPlaced    = define("shop.order.placed", func(f Order) string { return OrderSubject(f.No) })
	OrderRefused   = define("shop.order.refused", func(f Refusal) string { return OrderSubject(f.No) })
	OrderCancelled = define("shop.order.cancelled", func(f Cancellation) string { return OrderSubject(f.No) })
	ReturnAccepted = define("shop.return.accepted", func(f Return) string { return ReturnSubject(f.No) })

	PaymentCaptured = define("shop.payment.captured", func(f Payment) string { return OrderSubject(f.No) })
	PaymentDeclined = define("shop.payment.declined", func(f Decline) string { return OrderSubject(f.No) })
	PaymentRefunded = define("shop.payment.refunded", func(f Refund) string { return ReturnSubject(f.No) })

	StockReserved  = define("shop.stock.reserved", func(f Stock) string { return OrderSubject(f.No) })
	StockReleased  = define("shop.stock.released", func(f Stock) string { return OrderSubject(f.No) })
	StockRestocked = define("shop.stock.restocked", func(f Stock) string { return ReturnSubject(f.No) })

	ParcelShipped = define("shop.parcel.shipped", func(f Parcel) string { return OrderSubject(f.No) })

	PointsEarned  = define("shop.points.earned", func(f Points) string { return f.About })
	PointsRevoked = define("shop.points.revoked", func(f Points) string { return f.About })

	EmailSent   = define("shop.email.sent", func(f Email) string { return OrderSubject(f.No) })
	EmailFailed = define("shop.email.failed", func(f Email) string { return OrderSubject(f.No) })
)

func define[T any](name string, subject func(T) string) *tidings.Fact[T] {
	return tidings.Define[T](name, tidings.In(Topic), tidings.Subject(subject))
}

// OrderSubject is what the facts of an order are about.
func OrderSubject(no string) string { return "order/" + no }

// ReturnSubject is what the facts of a return are about.
func ReturnSubject(no string) string { return "return/" + no }

// Line is so many units of one article.
type Line struct {
	StockCode   string `json:"stock_code"`
	Description string `json:"description,omitempty"`
	Quantity    int64  `json:"quantity"`
	UnitPence   int64  `json:"unit_pence"`
}

// Order is OrderPlaced: somebody ordered something.
type Order struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`                 // when the customer ordered
	Customer    string    `json:"customer,omitempty"` // "": nobody we know
	Country     string    `json:"country"`
	Lines       []Line    `json:"lines"`
	Adjustments []Line    `json:"adjustments,omitempty"` // lines that count for nothing: gifts, corrections
	TotalPence  int64     `json:"total_pence"`
}

// Refusal is OrderRefused: there is nothing in the order that could be sold.
type Refusal struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`
	Customer    string    `json:"customer,omitempty"`
	Reason      string    `json:"reason"`
	Adjustments []Line    `json:"adjustments,omitempty"`
}

// Cancellation is OrderCancelled: an order that was placed will not be delivered.
type Cancellation struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Reason   string `json:"reason"`
}

// Return is ReturnAccepted: a customer brought something back.
type Return struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`
	Customer    string    `json:"customer,omitempty"`
	Country     string    `json:"country"`
	Lines       []Line    `json:"lines"` // quantities below zero, as they stand in the books
	Adjustments []Line    `json:"adjustments,omitempty"`
	RefundPence int64     `json:"refund_pence"`
}

// Payment is PaymentCaptured.
type Payment struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
}

// Decline is PaymentDeclined.
type Decline struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
	Reason   string `json:"reason"`
}

// Refund is PaymentRefunded. It may be of 0 pence.
type Refund struct {
	No       string `json:"no"` // of the return
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
}

// Stock is StockReserved, StockReleased or StockRestocked: units set aside for an order, given back, or returned.
type Stock struct {
	No       string `json:"no"` // of the order; of the return for StockRestocked
	Articles int    `json:"articles"`
	Units    int64  `json:"units"`
}

// Parcel is ParcelShipped.
type Parcel struct {
	No    string `json:"no"`
	Units int64  `json:"units"`
}

// Points is PointsEarned or PointsRevoked.
type Points struct {
	About    string `json:"about"` // subject of the order or the return
	Customer string `json:"customer"`
	Points   int64  `json:"points"`
}

// Email is EmailSent or EmailFailed.
type Email struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Kind     string `json:"kind"`             // receipt or cancellation
	Reason   string `json:"reason,omitempty"` // why it failed
}

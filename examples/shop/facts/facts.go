// Package facts defines the facts of the shop. Its services have no other code in common.
//
// All facts are on the topic orders. A fact about an order has the subject order/<InvoiceNo>, and a fact about a
// return has the subject return/<InvoiceNo>, whichever service emits it, so that the facts about one order are handled
// in the order in which they happened. Money is in whole pence. Fields may be added to a fact; services that do not
// know them ignore them.
package facts

import (
	"time"

	"tidings.dev"
)

// Topic is the topic of all facts of the shop.
const Topic = "orders"

// The facts about orders and returns.
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

// define defines a fact on Topic.
func define[T any](name string, subject func(T) string) *tidings.Fact[T] {
	return tidings.Define[T](name, tidings.In(Topic), tidings.Subject(subject))
}

// OrderSubject returns the subject of the facts of an order, by its InvoiceNo.
func OrderSubject(no string) string { return "order/" + no }

// ReturnSubject returns the subject of the facts of a return, by its InvoiceNo.
func ReturnSubject(no string) string { return "return/" + no }

// Line is a line of an order or a return: a number of units of one article.
type Line struct {
	StockCode   string `json:"stock_code"`
	Description string `json:"description,omitempty"`
	Quantity    int64  `json:"quantity"`
	UnitPence   int64  `json:"unit_pence"`
}

// Order is the data of OrderPlaced: a customer has ordered something.
type Order struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`                 // when the customer ordered
	Customer    string    `json:"customer,omitempty"` // empty if unknown
	Country     string    `json:"country"`
	Lines       []Line    `json:"lines"`
	Adjustments []Line    `json:"adjustments,omitempty"` // lines that do not count for the total: gifts, corrections
	TotalPence  int64     `json:"total_pence"`
}

// Refusal is the data of OrderRefused: an order had no line that could be sold.
type Refusal struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`
	Customer    string    `json:"customer,omitempty"`
	Reason      string    `json:"reason"`
	Adjustments []Line    `json:"adjustments,omitempty"`
}

// Cancellation is the data of OrderCancelled: an order that was placed will not be delivered.
type Cancellation struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Reason   string `json:"reason"`
}

// Return is the data of ReturnAccepted: a customer has brought something back.
type Return struct {
	No          string    `json:"no"`
	At          time.Time `json:"at"`
	Customer    string    `json:"customer,omitempty"`
	Country     string    `json:"country"`
	Lines       []Line    `json:"lines"` // with negative quantities, as in the input
	Adjustments []Line    `json:"adjustments,omitempty"`
	RefundPence int64     `json:"refund_pence"`
}

// Payment is the data of PaymentCaptured: a customer has paid Pence for an order.
type Payment struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
}

// Decline is the data of PaymentDeclined: the payment of an order was declined.
type Decline struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
	Reason   string `json:"reason"`
}

// Refund is the data of PaymentRefunded: a customer got back Pence for a return; may be 0.
type Refund struct {
	No       string `json:"no"` // number of the return
	Customer string `json:"customer,omitempty"`
	Pence    int64  `json:"pence"`
}

// Stock is the data of StockReserved, StockReleased and StockRestocked: units were set aside for an order, given back,
// or taken in from a return.
type Stock struct {
	No       string `json:"no"` // number of the order, or of the return for StockRestocked
	Articles int    `json:"articles"`
	Units    int64  `json:"units"`
}

// Parcel is the data of ParcelShipped: a parcel with Units units was shipped for an order.
type Parcel struct {
	No    string `json:"no"`
	Units int64  `json:"units"`
}

// Points is the data of PointsEarned and PointsRevoked: points that a customer has got or lost.
type Points struct {
	About    string `json:"about"` // subject of the order or return that the points are for
	Customer string `json:"customer"`
	Points   int64  `json:"points"`
}

// Email is the data of EmailSent and EmailFailed: an email to a customer about an order.
type Email struct {
	No       string `json:"no"`
	Customer string `json:"customer,omitempty"`
	Kind     string `json:"kind"`             // receipt or cancellation
	Reason   string `json:"reason,omitempty"` // why it failed; empty if it was sent
}

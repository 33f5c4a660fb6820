// Command payment runs the shop's payment service, which captures or declines the payment of orders and refunds
// returns.
package main

import (
	"tidings.dev"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/examples/shop/service"
)

func main() {
	p := service.New("payment", "captures, declines and refunds")
	above := input.Pounds(payment.DefaultDeclineAbovePence)
	p.Flags.Var(&above, "decline-above", "decline totals above so many `pounds`")
	p.React(func(app *tidings.App) { payment.Register(app, int64(above)) })
}

// Command fraud runs the shop's fraud service, which flags suspicious orders. It may be started for the first time
// while the shop is running, and begins with the oldest order.
package main

import (
	"tidings.dev"
	"tidings.dev/examples/shop/fraud"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/service"
)

func main() {
	p := service.New("fraud", "flags orders that deserve a second look, from the beginning of history")
	above := input.Pounds(fraud.DefaultAbovePence)
	p.Flags.Var(&above, "above", "flag orders of unknown customers above so many `pounds`")
	p.React(func(app *tidings.App) { fraud.Register(app, int64(above)) })
}

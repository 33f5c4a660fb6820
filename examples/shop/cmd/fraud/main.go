// Command fraud flags orders that deserve a second look. Start it while the shop runs: it begins at the beginning.
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
	p.Flags.Var(&above, "above", "flag orders of nobody we know above so many `pounds`")
	p.React(func(app *tidings.App) { fraud.Register(app, int64(above)) })
}

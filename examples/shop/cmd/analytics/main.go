// Command analytics runs the shop's analytics service. It keeps the revenue by country and day, and prints it with
// --print.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tidings.dev"
	"tidings.dev/examples/shop/analytics"
	"tidings.dev/examples/shop/service"
)

func main() {
	p := service.New("analytics", "keeps the revenue by country and day")
	every := p.Flags.Duration("print", 0, "print the view (day, country, pence) to stdout this often; 0: never")
	p.React(func(app *tidings.App) {
		revenue := analytics.Register(app)
		if *every > 0 {
			go printing(revenue, *every)
		}
	})
}

// printing prints the view to stdout every so often, for ever.
func printing(revenue *analytics.Revenue, every time.Duration) {
	for range time.Tick(every) {
		rows := revenue.Rows()
		for _, row := range slices.SortedFunc(maps.Keys(rows), func(a, b analytics.Row) int {
			return strings.Compare(a.Day+a.Country, b.Day+b.Country)
		}) {
			fmt.Fprintf(os.Stdout, "%s\t%s\t%d\n", row.Day, row.Country, rows[row])
		}
		fmt.Fprintln(os.Stdout)
	}
}

// Package demo implements the command `tidings demo`. It runs the online store of examples/shop, with its broker and
// its story index, in one process, and counts orders, events and money in the store's log (books).
package demo

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
)

// watchedRate is the default number of orders emitted per second without --settle. It is low enough for a person to
// follow.
const watchedRate = 8

// config has the values of the flags.
type config struct {
	address      string // address that the broker listens on
	insecure     bool
	input        string // name of the input file; "": the day of orders that is part of the program
	options      input.Options
	declineAbove input.Pounds
	settle       bool
	rate         float64  // orders per second; 0: no limit
	without      []string // names of services that are not started
}

// Command returns the command `tidings demo`.
func Command(s *shell.Session) *cobra.Command {
	config := config{declineAbove: payment.DefaultDeclineAbovePence}
	c := &cobra.Command{
		Use: "demo", Short: "Run an online store on its own broker, over real orders",
		Long: "Runs an online store, its broker and its stories in one process over real orders, and keeps their data: a second run\n" +
			"on the same directory goes on where the first stopped. With --brokers the store runs on another log. It runs until\n" +
			"it is stopped, or with --settle until all orders are in and all stories have settled; then it prints the books.\n" +
			"The exit code is 130 after ctrl-C and, without --settle, 0 after SIGTERM.\n" +
			"Orders: " + input.Attribution + ".",
		Example: "  tidings demo\n  tidings demo --settle -o json\n  tidings demo --without email --brokers localhost:9092",
		Args:    shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkServices(config.without); err != nil {
				return err
			}
			if config.rate < 0 || math.IsNaN(config.rate) {
				return shell.Usagef("0 is as fast as the log takes them", "--rate cannot be below zero")
			}
			if s.Brokers != "" {
				if err := shell.RefuseWith(cmd, "with --brokers", "listen", "insecure"); err != nil {
					return err
				}
			}
			if !cmd.Flags().Changed("rate") && !config.settle {
				config.rate = watchedRate
			}
			d := demo{Session: s, config: config}
			return d.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&config.address, "listen", serve.DefaultListen, "where the broker listens, HOST:PORT; for a port that is taken the next free one is used")
	c.Flags().StringVar(&config.input, "input", "", "CSV `FILE` of invoice lines, plain or .gz (default: the day that the program carries)")
	c.Flags().Var(&config.options.Dates, "date-format", "`ORDER` of day and month in dates like 12/1/2010 of the input: mdy or dmy (default: as the file shows it)")
	c.Flags().Var(&config.declineAbove, "decline-above", "payment declines totals above so many pounds")
	c.Flags().BoolVar(&config.settle, "settle", false, "end when all orders are in and all stories have settled, and print the books")
	c.Flags().Float64Var(&config.rate, "rate", 0, fmt.Sprintf("orders a second, 0 for as fast as the log takes them (default %d, with --settle 0)", watchedRate))
	c.Flags().StringSliceVar(&config.without, "without", nil, "leave out services, for example email; they catch up when they join later")
	c.Flags().BoolVar(&config.insecure, "insecure", false, "allow addresses that other machines can reach: there is no authentication")
	return shell.TakesLog(c)
}

package demo

import (
	"fmt"
	"strings"
	"time"

	"tidings.dev/examples/shop/input"
	"tidings.dev/internal/cli/shell"
)

// banner prints for people where the broker, the data and the services are, in at most 8 lines.
func (d *demo) banner() {
	if d.Format.Machine() {
		return
	}
	what := "one day of a real store's orders"
	if d.input != "" {
		what = d.input
	}
	d.Note("Tidings demo: an online store over %s (%s)", what, shell.Plural(len(d.batch.Invoices), "invoice"))
	d.Note("  Kafka     %s", d.where)
	flags := ""
	switch {
	case d.broker == nil:
		flags = " --brokers " + d.Brokers
	case d.dir != shell.DefaultDataDir:
		flags = " --data " + d.dir
	}
	if d.broker != nil {
		d.Note("  data      %s", shell.Absolute(d.dir))
	}
	d.Note("  services  %s", strings.Join(d.shop.names(), ", "))
	if first := d.firstOrder(); first != nil {
		d.Note("  next      tidings story order/%s%s   (in another terminal)", first.No, flags)
	}
	if d.input == "" {
		d.Note("  orders    %s", input.Attribution)
	}
	d.Note("  ctrl-C    stops; the data is kept")
}

// announce prints a line with the time of day for people. It prints nothing if the output format is one for programs.
func (d *demo) announce(format string, args ...any) {
	if !d.Format.Machine() {
		d.Note("%s  %s", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
}

// progress returns a line with the counts of orders, events and stories so far.
func (d *demo) progress() string {
	o, stats := d.books.orders(), d.indexer.Index().Stats()
	return fmt.Sprintf("%s placed, %d refused, %d cancelled, %s; %s; %s captured; stories: %d settled, %d open",
		shell.Plural(int(o.Placed), "order"), o.Refused, o.Cancelled, shell.Plural(int(o.Returns), "return"), shell.Plural(int(d.books.events()), "event"),
		pounds(d.books.totals(0).CapturedPence), stats.Settled, stats.Open)
}

// pounds formats an amount of pence as £12.01.
func pounds(pence int64) string {
	sign := ""
	if pence < 0 {
		sign, pence = "-", -pence
	}
	return fmt.Sprintf("%s£%d.%02d", sign, pence/100, pence%100)
}

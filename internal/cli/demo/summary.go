package demo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tidings.dev/internal/cli/shell"
)

// summary is what the demo prints at its end. Seconds and EventsPerSecond describe this run; the other fields count
// everything in the log.
type summary struct {
	Orders          orderCounts               `json:"orders"`
	BadRows         int                       `json:"bad_rows"`
	Events          int64                     `json:"events"`
	Reactions       map[string]reactionCounts `json:"reactions"`
	Stories         storyCounts               `json:"stories"`
	Books           totals                    `json:"books"`
	Seconds         float64                   `json:"seconds"`
	EventsPerSecond float64                   `json:"events_per_second"`
}

type storyCounts struct {
	Settled int64 `json:"settled"`
	Open    int64 `json:"open"`
}

// printSummary prints the summary of a run. begun is when the run began, and before the number of events that were in
// the log then.
func (d *demo) printSummary(ctx context.Context, begun time.Time, before int64) error {
	took := time.Since(begun)
	if err := d.books.catchUp(ctx); err != nil {
		return err
	}
	stats := d.indexer.Index().Stats()
	s := summary{
		Orders: d.books.orders(), BadRows: d.batch.BadRows, Events: d.books.events(), Reactions: d.books.reactions(),
		Stories: storyCounts{Settled: stats.Settled, Open: stats.Open}, Books: d.books.totals(d.shop.revenuePence()),
		Seconds: rounded(took.Seconds()),
	}
	s.EventsPerSecond = rounded(float64(s.Events-before) / took.Seconds())
	return d.Output().Value(s, s.text)
}

// rounded returns x rounded to three decimal places.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

func (s summary) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "orders\t%d placed, %d refused, %d cancelled, %s\n", s.Orders.Placed, s.Orders.Refused, s.Orders.Cancelled, shell.Plural(int(s.Orders.Returns), "return"))
	fmt.Fprintf(t, "bad rows\t%d\n", s.BadRows)
	fmt.Fprintf(t, "events\t%d\n", s.Events)
	for _, name := range slices.Sorted(maps.Keys(s.Reactions)) {
		fmt.Fprintf(t, "  %s\t%s\n", name, s.Reactions[name].text())
	}
	fmt.Fprintf(t, "stories\t%d settled, %d open\n", s.Stories.Settled, s.Stories.Open)
	verdict := "not equal"
	if s.Books.Equal {
		verdict = "equal"
	}
	fmt.Fprintf(t, "books\t%s captured, %s in the revenue view: %s; %s refunded\n", pounds(s.Books.CapturedPence), pounds(s.Books.RevenueViewPence), verdict, pounds(s.Books.RefundedPence))
	fmt.Fprintf(t, "time\t%.3g s, %.0f events a second\n", s.Seconds, s.EventsPerSecond)
	return t.Flush()
}

// text returns the counts as text, leaving out those that are zero except handled.
func (r reactionCounts) text() string {
	parts := []string{fmt.Sprintf("%d handled", r.Handled)}
	for _, more := range []struct {
		n    int64
		what string
	}{{r.Retried, "retried"}, {r.Skipped, "skipped"}, {r.Duplicates, "duplicates"}} {
		if more.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", more.n, more.what))
		}
	}
	return strings.Join(parts, ", ")
}

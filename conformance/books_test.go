package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

// declineAbovePence is the amount above which the shop's payment service declines an order, by default.
const declineAbovePence = 500_000

// settled is the JSON object that `tidings demo --settle -o json` prints.
type settled struct {
	Orders struct {
		Placed, Refused, Cancelled, Returns int
	} `json:"orders"`
	BadRows   int `json:"bad_rows"`
	Events    int `json:"events"`
	Reactions map[string]struct {
		Handled, Retried, Skipped, Duplicates int
	} `json:"reactions"`
	Stories struct{ Settled, Open int } `json:"stories"`
	Books   struct {
		CapturedPence    int64 `json:"captured_pence"`
		RefundedPence    int64 `json:"refunded_pence"`
		RevenueViewPence int64 `json:"revenue_view_pence"`
		Equal            bool  `json:"equal"`
	} `json:"books"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
}

// check compares the printed figures with the books of the CSV file, and returns all differences.
func (s *settled) check(b *Books) error {
	var wrong []error
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"orders.placed", int64(s.Orders.Placed), int64(len(b.Placed))},
		{"orders.refused", int64(s.Orders.Refused), int64(len(b.Refused))},
		{"orders.cancelled", int64(s.Orders.Cancelled), int64(len(b.Cancelled))},
		{"orders.returns", int64(s.Orders.Returns), int64(len(b.Returned))},
		{"bad_rows", int64(s.BadRows), int64(b.BadRows)},
		{"stories.open", int64(s.Stories.Open), 0},
		{"stories.settled", int64(s.Stories.Settled), int64(len(b.Placed) + len(b.Refused) + len(b.Returned))},
		{"books.captured_pence", s.Books.CapturedPence, b.CapturedPence()},
		{"books.refunded_pence", s.Books.RefundedPence, b.RefundedPence()},
		{"books.revenue_view_pence", s.Books.RevenueViewPence, b.CapturedPence()},
	} {
		if c.got != c.want {
			wrong = append(wrong, fmt.Errorf("%s is %d, the file says %d", c.what, c.got, c.want))
		}
	}
	if !s.Books.Equal {
		wrong = append(wrong, errors.New("books.equal is false"))
	}
	return errors.Join(wrong...)
}

// parseSettled decodes the output of the demo.
func parseSettled(t *testing.T, out []byte) *settled {
	t.Helper()
	var s settled
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("demo --settle -o json printed no object: %v\n%s", err, tail(out))
	}
	return &s
}

// TestBooksFromOutside runs the demo with a file of orders, twice on the same directory, and reads its facts back with
// kcat. Figures and facts must be those of the file.
func TestBooksFromOutside(t *testing.T) {
	orders, data, address := input(t), t.TempDir(), freeAddress(t)
	books, err := ReadBooks(orders, declineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	result := parseSettled(t, run(t, 5*time.Minute, "tidings", "demo", "--settle", "-o", "json", "--input", orders, "--data", data, "--listen", address))
	if err := result.check(books); err != nil {
		t.Error(err)
	}
	t.Logf("%d events in %.1f s: %.0f a second", result.Events, result.Seconds, result.EventsPerSecond)

	// Case: a second run on the same directory continues after the first, and emits nothing again.
	again := parseSettled(t, run(t, 5*time.Minute, "tidings", "demo", "--settle", "-o", "json", "--input", orders, "--data", data, "--listen", address))
	if err := again.check(books); err != nil {
		t.Errorf("second run: %v", err)
	}

	broker := serve(t, data, address)
	kept := distinct(t, dump(t, address, "orders"))
	kept.compare(t, books)
	if kept.repeats != 0 {
		t.Errorf("%d records repeat an id though nothing was killed", kept.repeats)
	}
	if code := broker.stop(t); code != 0 {
		t.Errorf("serve ended with %d after SIGTERM", code)
	}
}

// TestBooksAfterKills does the same as TestBooksFromOutside while the demo is killed (SIGKILL) at 20 random moments and
// started again.
func TestBooksAfterKills(t *testing.T) {
	const kills = 20
	orders, data, address := input(t), t.TempDir(), freeAddress(t)
	books, err := ReadBooks(orders, declineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	random := seeded(t)
	args := []string{"demo", "--settle", "-o", "json", "--input", orders, "--data", data, "--listen", address}
	// A run without kills measures how long the work takes on this machine, so that the kills are spread over it.
	calm := parseSettled(t, run(t, 5*time.Minute, "tidings", "demo", "--settle", "-o", "json", "--input", orders, "--data", t.TempDir(), "--listen", address))
	mean := time.Duration(calm.Seconds / kills * float64(time.Second))
	killed, inWork := 0, 0
	for killed < kills {
		p := start(t, "tidings", args...)
		select {
		case <-p.done: // the demo has finished before it was to be killed
			if code := p.wait(t, 0); code != 0 {
				t.Fatalf("run after %d kills: exit %d\n%s", killed, code, tail(p.err.Bytes()))
			}
		case <-time.After(300*time.Millisecond + time.Duration(random.Float64()*2*float64(mean))):
			p.kill()
			inWork++
		}
		killed++
	}
	if inWork < kills/2 {
		t.Errorf("only %d of %d kills fell into the work: the test proves little", inWork, kills)
	}
	result := parseSettled(t, run(t, 5*time.Minute, "tidings", args...))
	if err := result.check(books); err != nil {
		t.Error(err)
	}
	serve(t, data, address)
	kept := distinct(t, dump(t, address, "orders"))
	kept.compare(t, books)
	if kept.repeats == 0 {
		t.Error("no handler ran again: the kills fell while nobody worked")
	}
	t.Logf("%d kills in the work; %d records repeat an id (handlers run again emit the same ids, and readers drop them)", inWork, kept.repeats)
}

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/client"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// program has the command of this package, and those that read a log.
func program(t testing.TB) clitest.Program {
	return clitest.New(t, func(s *shell.Session) []*cobra.Command { return append(client.Commands(s), Command(s)) })
}

// summaryOf reads the one object that `demo --settle -o json` prints.
func summaryOf(t *testing.T, out string) summary {
	t.Helper()
	var s summary
	dec := json.NewDecoder(bytes.NewReader([]byte(out)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if dec.More() {
		t.Errorf("more than one object: %s", out)
	}
	return s
}

// checkDay compares with what the carried day comes to, which was counted by other means.
func checkDay(t *testing.T, s summary) {
	t.Helper()
	if s.Orders != (orderCounts{Placed: 127, Refused: 10, Cancelled: 2, Returns: 6}) {
		t.Errorf("orders %+v", s.Orders)
	}
	if s.Stories != (storyCounts{Settled: 143}) {
		t.Errorf("stories %+v", s.Stories)
	}
	if s.Books != (totals{CapturedPence: 4652400, RefundedPence: 32523, RevenueViewPence: 4652400, Equal: true}) {
		t.Errorf("books %+v", s.Books)
	}
	if s.Events != 792 {
		t.Errorf("%d events", s.Events)
	}
	for name, handled := range map[string]int64{"payment": 133, "cancellation": 2, "email": 127, "inventory": 135, "warehouse": 252, "analytics": 252, "loyalty": 127} {
		if got := s.Reactions[name]; got.Handled != handled {
			t.Errorf("%s %+v, want %d handled", name, got, handled)
		}
	}
	if got := s.Reactions["loyalty"].Skipped; got != 8 {
		t.Errorf("loyalty skipped %d, want 8: orders without a customer", got)
	}
}

// Case: the carried day, and a second run on its data, which finds everything done.
func TestDemoSettles(t *testing.T) {
	s := program(t).On(filepath.Join(t.TempDir(), "data"))
	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))
	again := summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout)
	checkDay(t, again)
	for name, r := range again.Reactions {
		if r.Duplicates != 0 {
			t.Errorf("%s dropped %d copies: the second run repeated something", name, r.Duplicates)
		}
	}
	s.Want(s.Run("demo", "--settle", "--listen", "127.0.0.1:0"), 0, "£46524.00 captured, £46524.00 in the revenue view: equal")
}

// Case: somebody watches, stops it in the middle, and goes on later. No order is lost and none is there twice.
func TestDemoStopsAndGoesOn(t *testing.T) {
	s := program(t).On(filepath.Join(t.TempDir(), "data"))
	for _, stop := range []struct {
		cause error
		code  int
	}{{shell.ErrInterrupted, 130}, {shell.ErrTerminated, 0}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		running := s.Start(ctx, "", "demo", "--rate", "30", "--listen", "127.0.0.1:0")
		running.Await(t, "order/536365: settled")
		cancel(stop.cause)
		r := s.Want(running.Wait(), stop.code, "the data is kept", "Online Retail")
		// All lines of the banner but its first are indented, and no others are.
		if lines := 1 + strings.Count(r.Stderr, "\n  "); lines > 8 {
			t.Errorf("the banner has %d lines:\n%s", lines, r.Stderr)
		}
	}
	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))
}

// Case: email is down for the whole day and joins later. No order waits for it, and then it catches up.
func TestDemoWithoutEmail(t *testing.T) {
	s := program(t).On(filepath.Join(t.TempDir(), "data"))
	without := summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--without", "email", "--listen", "127.0.0.1:0"), 0).Stdout)
	if without.Stories.Open != 0 || without.Orders.Placed != 127 || !without.Books.Equal || without.Events != 792-127 {
		t.Errorf("%+v", without)
	}
	if _, there := without.Reactions["email"]; there {
		t.Error("email reacted")
	}
	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))
}

// Case: email has joined and is then down for a while. No order waits for it: all else goes on, and only stories stay
// open until it has caught up.
func TestDemoWhileEmailIsDown(t *testing.T) {
	s := program(t).On(filepath.Join(t.TempDir(), "data"))
	stopAfter := func(text string, args ...string) clitest.Result {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		running := s.Start(ctx, "", append(args, "--listen", "127.0.0.1:0")...)
		running.Await(t, text)
		cancel(shell.ErrInterrupted)
		return running.Wait()
	}
	s.Want(stopAfter("ctrl-C", "demo", "--rate", "20"), 130)
	s.Want(stopAfter("127 orders placed, 10 refused, 2 cancelled", "demo", "--rate", "0", "--without", "email"), 130, "all orders of the input are in")
	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))
}

// Case: email's position is moved back by hand. It does everything again under the same ids, so nothing new comes of it.
func TestSeekBackRepeats(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := program(t).On(data)
	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))

	b, err := broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	s.Want(s.Run("group", "seek", "email", "--topic", "orders"), 2, "--to")
	s.Want(s.Run("group", "seek", "email", "--topic", "nope", "--to", "earliest"), 3, `"nope"`)
	s.Want(s.Run("group", "seek", "nobody", "--topic", "orders", "--to", "earliest"), 3, `"nobody"`)
	s.Want(s.Run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "--partition", "9"), 3, "partition 9")
	plan := s.Want(s.Run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "-o", "json"), 2, "needs_yes")
	var moves []struct{ From, Repeat int64 }
	if err := json.Unmarshal([]byte(plan.Stdout), &moves); err != nil || len(moves) != 4 {
		t.Fatalf("%v: %s", err, plan.Stdout)
	}
	var repeat int64
	for _, m := range moves {
		repeat += m.Repeat
	}
	if repeat != 127 {
		t.Errorf("the plan repeats %d events, want the 127 that email handles", repeat)
	}
	s.Want(s.Run("group", "show", "email"), 0, fmt.Sprintf("0          %d", moves[0].From))
	s.Want(s.Run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "--yes"), 0)
	s.Want(s.Run("group", "ls"), 0, "email\tEmpty\t0\t792")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	checkDay(t, summaryOf(t, s.Want(s.Run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).Stdout))
	b, err = broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s.Want(s.Run("group", "ls"), 0, "email\tEmpty\t0\t0")
	s.Want(s.Run("topic", "show", "orders"), 0)
}

// Case: a port that is taken gives way to the next, and the demo names the process that has it.
func TestDemoTakesTheNextPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := program(t).On(filepath.Join(t.TempDir(), "data"))
	s.Want(s.Run("demo", "--settle", "--listen", taken.Addr().String()), 0, taken.Addr().String()+" is taken by process")
}

// Case: bad rows are reported with line and column, and counted; all other rows are used; another limit declines other orders.
func TestDemoWithBadRows(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "orders.csv")
	const rows = `InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,A,x,1,2010-12-01 08:00:00,10.005,1.0,UK
2,A,x,1,2010-12-01 08:00:00,20.00,1.0,UK
1,A,x,two,2010-12-01 08:00:00,1.00,1.0,UK
1,A,"x,1,2010-12-01 08:00:00,1.00,1.0,UK
1,A,x,2,2010-12-01 08:00:00,1.00,1.0,UK
C3,A,x,-1,2010-12-01 08:00:00,0.50,1.0,UK
`
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	s := program(t).On(filepath.Join(dir, "data"))
	r := s.Want(s.Run("demo", "--settle", "-o", "json", "--input", file, "--decline-above", "12.01", "--listen", "127.0.0.1:0"), 0,
		"line 4, column 7 (Quantity)", "line 5, column 5")
	got := summaryOf(t, r.Stdout)
	if got.BadRows != 2 || got.Orders != (orderCounts{Placed: 2, Cancelled: 1, Returns: 1}) || got.Books.CapturedPence != 1201 || got.Books.RefundedPence != 50 || !got.Books.Equal {
		t.Errorf("%+v", got)
	}
}

// Case: the dates of a file leave the order of day and month open: it is said which was taken, and --date-format sets it. A
// file of which no row can be read ends the demo with one message.
func TestDemoWithDatesOfOtherOrders(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "orders.csv")
	const header = "Invoice;StockCode;Description;Quantity;InvoiceDate;Price;Customer ID;Country\n"
	if err := os.WriteFile(file, []byte(header+"1;A;x;1;12/1/2010 8:26;2,55;1;UK\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(data string, args ...string) []string {
		return append([]string{"demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0", "--input", file, "--data", filepath.Join(dir, data)}, args...)
	}
	s := program(t)
	r := s.Want(s.Run(run("a")...), 0, "12/1/2010 8:26 are taken as month/day/year", "--date-format dmy", "decimal commas")
	if got := summaryOf(t, r.Stdout); got.Books.CapturedPence != 255 || got.BadRows != 0 {
		t.Errorf("%+v", got)
	}
	s.Want(s.Run(run("b", "--date-format", "dmy")...), 0, "taken as day/month/year, as asked")
	s.Want(s.Run(run("c", "--date-format", "european")...), 2, "mdy (month/day/year) or dmy (day/month/year)")

	if err := os.WriteFile(file, []byte(header+strings.Repeat("1;A;x;1;some day;2,55;1;UK\n", 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	r = s.Want(s.Run(run("d")...), 1, "none of its 3 rows can be used; the first: line 2, column 9 (InvoiceDate)")
	if n := strings.Count(r.Stderr, "InvoiceDate"); n != 1 {
		t.Errorf("%d messages:\n%s", n, r.Stderr)
	}
}

// Case: the demo is killed and started again. Its services are the same members of their groups as before, by a lasting
// name, so that nobody waits ten seconds for the sessions of the dead to end.
func TestDemoServicesKeepTheirNames(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	link, err := shell.InProcess(b).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(link.Instance, b.ClusterID()) {
		t.Errorf("services are called %q", link.Instance)
	}
}

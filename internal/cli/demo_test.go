package cli

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
	"time"

	"tidings.dev/broker"
)

// summaryOf reads the one object that `demo --settle -o json` prints.
func summaryOf(t *testing.T, out string) shopSummary {
	t.Helper()
	var s shopSummary
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
func checkDay(t *testing.T, s shopSummary) {
	t.Helper()
	if s.Orders != (orderCounts{Placed: 127, Refused: 10, Cancelled: 2, Returns: 6}) {
		t.Errorf("orders %+v", s.Orders)
	}
	if s.Stories != (storyCounts{Settled: 143}) {
		t.Errorf("stories %+v", s.Stories)
	}
	if s.Books != (bookSums{CapturedPence: 4652400, RefundedPence: 32523, RevenueViewPence: 4652400, Equal: true}) {
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
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))
	again := summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out)
	checkDay(t, again)
	for name, r := range again.Reactions {
		if r.Duplicates != 0 {
			t.Errorf("%s dropped %d copies: the second run repeated something", name, r.Duplicates)
		}
	}
	s.want(s.run("demo", "--settle", "--listen", "127.0.0.1:0"), 0, "£46524.00 captured, £46524.00 in the revenue view: equal")
}

// Case: somebody watches, stops it in the middle, and goes on later. No order is lost and none is there twice.
func TestDemoStopsAndGoesOn(t *testing.T) {
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	for _, stop := range []struct {
		cause error
		code  int
	}{{ErrInterrupted, 130}, {ErrTerminated, 0}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(1500*time.Millisecond, func() { cancel(stop.cause) })
		r := s.want(s.runUntil(ctx, "", "demo", "--rate", "30", "--listen", "127.0.0.1:0"), stop.code, "the data is kept", "order/536365: settled", "Online Retail")
		timer.Stop()
		// All lines of the banner but its first are indented, and no others are.
		if lines := 1 + strings.Count(r.errout, "\n  "); lines > 8 {
			t.Errorf("the banner has %d lines:\n%s", lines, r.errout)
		}
	}
	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))
}

// Case: email is down for the whole day and joins later. No order waits for it, and then it catches up.
func TestDemoWithoutEmail(t *testing.T) {
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	without := summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--without", "email", "--listen", "127.0.0.1:0"), 0).out)
	if without.Stories.Open != 0 || without.Orders.Placed != 127 || !without.Books.Equal || without.Events != 792-127 {
		t.Errorf("%+v", without)
	}
	if _, there := without.Reactions["email"]; there {
		t.Error("email reacted")
	}
	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))
}

// Case: email has joined and is then down for a while. No order waits for it: all else goes on, and only stories stay
// open until it has caught up.
func TestDemoWhileEmailIsDown(t *testing.T) {
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	stopAfter := func(says string, args ...string) result {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var out, errout safeBuffer
		ended := make(chan int, 1)
		go func() {
			ended <- Run(ctx, append(args, "--data", s.data, "--listen", "127.0.0.1:0"), strings.NewReader(""), &out, &errout)
		}()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(errout.String(), says); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never said %q: %s", says, errout.String())
			}
		}
		cancel(ErrInterrupted)
		return result{<-ended, out.String(), errout.String()}
	}
	s.want(stopAfter("ctrl-C", "demo", "--rate", "20"), 130)
	s.want(stopAfter("127 orders placed, 10 refused, 2 cancelled", "demo", "--rate", "0", "--without", "email"), 130, "all orders of the input are in")
	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))
}

// Case: email's position is moved back by hand. It does everything again under the same ids, so nothing new comes of it.
func TestSeekBackRepeats(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := shell{t, data}
	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))

	b, err := broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	s.want(s.run("group", "seek", "email", "--topic", "orders"), 2, "--to")
	s.want(s.run("group", "seek", "email", "--topic", "nope", "--to", "earliest"), 3, `"nope"`)
	s.want(s.run("group", "seek", "nobody", "--topic", "orders", "--to", "earliest"), 3, `"nobody"`)
	s.want(s.run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "--partition", "9"), 3, "partition 9")
	plan := s.want(s.run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "-o", "json"), 2, "needs_yes")
	var moves []move
	if err := json.Unmarshal([]byte(plan.out), &moves); err != nil || len(moves) != 4 {
		t.Fatalf("%v: %s", err, plan.out)
	}
	var repeat int64
	for _, m := range moves {
		repeat += m.Repeat
	}
	if repeat != 792 {
		t.Errorf("the plan repeats %d records, want all 792", repeat)
	}
	s.want(s.run("group", "show", "email"), 0, fmt.Sprintf("0          %d", moves[0].From))
	s.want(s.run("group", "seek", "email", "--topic", "orders", "--to", "earliest", "--yes"), 0)
	s.want(s.run("group", "ls"), 0, "email\tEmpty\t0\t792")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	checkDay(t, summaryOf(t, s.want(s.run("demo", "--settle", "-o", "json", "--listen", "127.0.0.1:0"), 0).out))
	b, err = broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s.want(s.run("group", "ls"), 0, "email\tEmpty\t0\t0")
	s.want(s.run("topic", "show", "orders"), 0)
}

// Case: a port that is taken gives way to the next, and the demo says who has it.
func TestDemoTakesTheNextPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	s.want(s.run("demo", "--settle", "--listen", taken.Addr().String()), 0, taken.Addr().String()+" is taken by process")
}

// Case: bad rows are told with line and column, counted, and cost nothing else; another limit declines other orders.
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
	s := shell{t, filepath.Join(dir, "data")}
	r := s.want(s.run("demo", "--settle", "-o", "json", "--input", file, "--decline-above", "12.01", "--listen", "127.0.0.1:0"), 0,
		"line 4, column 7 (Quantity)", "line 5, column 5")
	got := summaryOf(t, r.out)
	if got.BadRows != 2 || got.Orders != (orderCounts{Placed: 2, Cancelled: 1, Returns: 1}) || got.Books.CapturedPence != 1201 || got.Books.RefundedPence != 50 || !got.Books.Equal {
		t.Errorf("%+v", got)
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
	link, err := inProcess(b).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(link.Instance, b.ClusterID()) {
		t.Errorf("services are called %q", link.Instance)
	}
}

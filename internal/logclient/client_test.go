package logclient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/logclient"
)

// open returns a client of a broker in memory.
func open(t *testing.T) *logclient.Client {
	t.Helper()
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"},
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		c.Close() // again: allowed
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A topic is made as it was declared, and a second client finds the same.
func TestTopicIsMadeAsDeclared(t *testing.T) {
	c := open(t)
	c.Declare("orders", 3, nil)
	c.Declare("orders", 2, map[string]string{"cleanup.policy": "compact"})
	c.Declare("orders", 0, nil)
	made, err := c.Topic(t.Context(), "orders")
	if err != nil || made.Name != "orders" || made.Partitions != 3 || made.ID == [16]byte{} {
		t.Fatalf("%+v, %v", made, err)
	}
	if again, err := c.Topic(t.Context(), "orders"); err != nil || again != made {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if _, err := c.Topic(t.Context(), "returns"); err != nil { // not declared: the broker's default
		t.Fatal(err)
	}
	all, err := c.Topics(t.Context(), nil)
	if err != nil || all.Cluster == "" || len(all.Topics) != 2 {
		t.Errorf("all topics: %+v, %v", all, err)
	}
	some, err := c.Topics(t.Context(), func(name string) bool { return name == "orders" })
	if err != nil || len(some.Topics) != 1 || some.Topics[0] != made {
		t.Errorf("one topic: %+v, %v", some, err)
	}
	if _, err := c.Topic(t.Context(), "no/name"); !errors.Is(err, kerr.InvalidTopicException) || strings.Count(err.Error(), "no/name") != 1 {
		t.Errorf("a bad name: %v", err)
	}
}

// A partition is written and read: its bounds, the place of a time, and its records from start to end.
func TestATopicFromStartToEnd(t *testing.T) {
	c := open(t)
	ctx := t.Context()
	c.Declare("orders", 2, nil)
	if _, err := c.Topic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2011, 12, 9, 12, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for i := range 5 {
		records = append(records, &kgo.Record{Topic: "orders", Key: []byte("one key"), Value: fmt.Append(nil, i), Timestamp: noon.Add(time.Duration(i) * time.Second)})
	}
	if err := c.ProduceSync(ctx, records...); err != nil {
		t.Fatal(err)
	}
	p := records[0].Partition
	starts, err := c.Starts(ctx, "orders")
	if err != nil || len(starts["orders"]) != 2 || starts["orders"][p] != 0 {
		t.Errorf("starts: %v, %v", starts, err)
	}
	ends, err := c.Ends(ctx, "orders")
	if err != nil || ends["orders"][p] != 5 || ends["orders"][1-p] != 0 {
		t.Errorf("ends: %v, %v", ends, err)
	}
	for after, want := range map[time.Duration]int64{-time.Hour: 0, 1500 * time.Millisecond: 2, time.Hour: 5} {
		at, err := c.After(ctx, noon.Add(after), "orders")
		if err != nil || at["orders"][p] != want || at["orders"][1-p] != 0 {
			t.Errorf("%v after noon: %v, %v, want %d", after, at, err, want)
		}
	}
	read := func(limit int) (values string) {
		for r, err := range c.ReadAll(ctx, "orders", p) {
			if err != nil {
				t.Fatal(err)
			}
			if values += string(r.Value); len(values) == limit {
				break
			}
		}
		return values
	}
	if got := read(0); got != "01234" {
		t.Errorf("read %q", got)
	}
	if got := read(2); got != "01" {
		t.Errorf("read %q of the first two", got)
	}
	for r := range c.ReadAll(ctx, "orders", 1-p) {
		t.Errorf("read %v of an empty partition", r)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for r, err := range c.ReadAll(ended, "orders", p) {
		if r != nil || !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "read orders: ") {
			t.Errorf("with a context that has ended: %v, %v", r, err)
		}
	}
}

// Partitions are read from offsets to offsets, and then on until the reader goes.
func TestPartitionsAreReadBetweenOffsets(t *testing.T) {
	c := open(t)
	ctx := t.Context()
	c.Declare("orders", 3, nil)
	if _, err := c.Topic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	partitionOf := map[string]int32{} // by key
	for n, key := 0, 0; len(partitionOf) < 2; key++ {
		r := &kgo.Record{Topic: "orders", Key: fmt.Append(nil, key), Value: []byte("0")}
		if err := c.ProduceSync(ctx, r); err != nil {
			t.Fatal(err)
		}
		if n = len(partitionOf); n == 0 || partitionOf["one"] != r.Partition {
			partitionOf[[]string{"one", "two"}[n]] = r.Partition
		}
	}
	ends, err := c.Ends(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	one, two := partitionOf["one"], partitionOf["two"]
	read := func(from, until logclient.Offsets) (places []string) {
		for r, err := range c.Read(ctx, from, until) {
			if err != nil {
				t.Fatal(err)
			}
			if places = append(places, fmt.Sprint(r.Partition, "/", r.Offset)); len(places) == 20 {
				break
			}
		}
		slices.Sort(places)
		return places
	}
	all := logclient.Offsets{"orders": {one: 0, two: 0}}
	if got, want := len(read(all, ends)), int(ends["orders"][one]+ends["orders"][two]); got != want {
		t.Errorf("%d records, want %d", got, want)
	}
	if got, want := read(all, logclient.Offsets{"orders": {two: 1}}), []string{fmt.Sprint(two, "/", 0)}; !slices.Equal(got, want) {
		t.Errorf("one partition to its first record: %q, want %q", got, want)
	}
	if got := read(ends, ends); got != nil {
		t.Errorf("from the end to the end: %q", got)
	}

	// Case: no end is given. The reader gets what comes, until its context ends.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("later")}); err != nil {
		t.Fatal(err)
	}
	for r, err := range c.Read(ctx, ends, nil) {
		if r == nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a context that was cancelled: %v", err)
			}
			continue
		}
		if string(r.Value) != "later" {
			t.Errorf("after the end: %s", r.Value)
		}
		cancel()
	}
}

// A record that is too large is refused, and whoever asks a closed client gets ErrClosed, also for what was on its way.
func TestWhatTheLogRefuses(t *testing.T) {
	c := open(t)
	ctx := t.Context()
	if _, err := c.Topic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: make([]byte, 2<<20)}); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("two MiB: %v", err)
	}
	if c.Life().Err() != nil {
		t.Error("the life of an open client has ended")
	}
	c.Close()
	if c.Life().Err() == nil {
		t.Error("the life of a closed client has not ended")
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "orders"}); !errors.Is(err, logclient.ErrClosed) {
		t.Errorf("produce after Close: %v", err)
	}
	c.Offer(&kgo.Record{Topic: "orders"})
	if err := c.Reach(ctx); !errors.Is(err, logclient.ErrClosed) {
		t.Errorf("reach after Close: %v", err)
	}
	if _, err := c.Topic(ctx, "returns"); !errors.Is(err, logclient.ErrClosed) {
		t.Errorf("a topic after Close: %v", err)
	}
}

// A log that cannot be dialled is waited for as long as was said, and one line is logged for all attempts.
func TestALogThatIsNotThere(t *testing.T) {
	var lines strings.Builder
	refused := errors.New("connection refused")
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"}, ConnectTimeout: 300 * time.Millisecond,
		Dial:   func(context.Context, string, string) (net.Conn, error) { return nil, refused },
		Logger: slog.New(slog.NewTextHandler(&lines, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Reach(t.Context()); !errors.Is(err, logclient.ErrUnreachable) {
		t.Errorf("reach: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Topic(ctx, "orders"); !errors.Is(err, context.Canceled) || errors.Is(err, logclient.ErrUnreachable) {
		t.Errorf("cancelled: %v", err)
	}
	c.Close()
	if n := strings.Count(lines.String(), "the log cannot be reached"); n != 1 {
		t.Errorf("%d lines of one outage:\n%s", n, lines.String())
	}
}

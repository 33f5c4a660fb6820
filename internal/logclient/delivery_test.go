package logclient_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/logclient"
)

// A client that knows a topic gets no connection to the broker which has it, over which to append. The records are given up
// after their timeout and are not in the log. One that was given up for the sake of another, and has time left, is appended
// when the broker is back; so is one without a timeout.
func TestRecordsThatNoBrokerGotAreGivenUp(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	refused := errors.New("connection refused")
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"}, Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if down.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: refused}
			}
			return b.Dial(ctx)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	defer c.Close()
	ctx := t.Context()
	c.Declare("orders", 1, nil)
	if _, err := c.Topic(ctx, "orders"); err != nil { // over the connection to the first address, which stays
		t.Fatal(err)
	}
	down.Store(true)
	const timeout = 1200 * time.Millisecond
	record := func(value string) *kgo.Record {
		return &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(value)}
	}
	answers := map[string]chan error{}
	for _, value := range []string{"early", "late", "patient"} {
		answers[value] = make(chan error, 1)
		done := func(err error) { answers[value] <- err }
		patience := timeout
		switch value {
		case "patient":
			err = c.Produce(ctx, record(value), done)
		case "late":
			patience = 10 * timeout
			fallthrough
		case "early":
			err = c.ProduceWithin(ctx, patience, record(value), done)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err = <-answers["early"]
	e, ok := errors.AsType[*logclient.Unacknowledged](err)
	if !ok || e.Topic != "orders" || e.Partition != 0 || e.Tried > 2*timeout || !errors.Is(err, logclient.ErrUnreachable) || !errors.Is(err, refused) {
		t.Fatalf("%+v", err)
	}
	down.Store(false)
	for _, value := range []string{"late", "patient"} {
		if err := <-answers[value]; err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	if err := c.ProduceSync(ctx, record("after")); err != nil {
		t.Fatal(err)
	}
	var values []string
	for r, err := range c.ReadAll(ctx, "orders", 0) {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(r.Value))
	}
	if got := strings.Join(values, " "); got != "late patient after" || e.MayBeInLog {
		t.Errorf("in the log: %s; the one that was given up may be: %v", got, e.MayBeInLog)
	}
}

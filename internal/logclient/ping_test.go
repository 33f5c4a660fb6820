package logclient_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
)

// A peer takes every connection and answers nothing. What waits for it ends with its timeout or context, and so does the client.
func TestASilentPeerHoldsNobodyUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := logclient.New(logclient.Config{Addresses: []string{silent.Addr().String()}, ConnectTimeout: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	within := func(what string, do func()) {
		t.Helper()
		begun := time.Now()
		do()
		if took := time.Since(begun); took > 5*time.Second { // kgo waits for 10 s
			t.Errorf("%s took %v", what, took)
		}
	}
	within("Reach", func() {
		if err := c.Reach(t.Context()); !errors.Is(err, logclient.ErrUnreachable) {
			t.Errorf("Reach: %v", err)
		}
	})
	within("an emission", func() {
		err := c.ProduceSyncWithin(t.Context(), 200*time.Millisecond, &kgo.Record{Topic: "orders"})
		if e, ok := errors.AsType[*logclient.Unacknowledged](err); !ok || e.MayBeInLog {
			t.Errorf("an emission: %v", err)
		}
	})
	within("a cancelled Reach", func() {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := c.Reach(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Reach: %v", err)
		}
	})
	within("Close", c.Close)
}

package logclient

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
)

// A record whose leader epoch is not known, or is later than the present one, is not taken for lost; one that the log has not is.
func TestUnknownEpochsAreNoLoss(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c, err := New(Config{Addresses: []string{"tidings:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Declare("orders", 1, nil)
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "orders"}); err != nil {
		t.Fatal(err)
	}
	orders := partition{"orders", 0}
	for _, test := range []struct {
		end  acknowledgedEnd
		lost int
	}{{acknowledgedEnd{1, -1}, 0}, {acknowledgedEnd{1, 1 << 30}, 0}, {acknowledgedEnd{1, 0}, 0}, {acknowledgedEnd{2, -1}, 1}, {acknowledgedEnd{2, 0}, 1}} {
		a := newAcknowledged(slog.New(slog.DiscardHandler))
		a.ends[orders] = test.end
		conn, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.check(t.Context(), conn); err != nil || a.count() != test.lost {
			t.Errorf("%+v: lost %d times, want %d; %v", test.end, a.count(), test.lost, err)
		}
		conn.Close()
	}
}

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
	}{
		{acknowledgedEnd{offset: 1, epoch: -1}, 0}, {acknowledgedEnd{offset: 1, epoch: 1 << 30}, 0}, {acknowledgedEnd{offset: 1}, 0},
		{acknowledgedEnd{offset: 2, epoch: -1}, 1}, {acknowledgedEnd{offset: 2}, 1},
	} {
		a := newAcknowledged(slog.New(slog.DiscardHandler))
		a.ends[orders] = test.end
		conn, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.check(t.Context(), conn, nil); err != nil || a.count() != test.lost {
			t.Errorf("%+v: lost %d times, want %d; %v", test.end, a.count(), test.lost, err)
		}
		conn.Close()
	}
}

// A log has lost what it has no leader epoch of, from the first record of that epoch on, however long it is.
func TestALogWithoutAnEpochHasLostItsRecords(t *testing.T) {
	var end acknowledgedEnd
	for _, r := range []struct {
		offset int64
		epoch  int32
	}{{10, 3}, {11, 3}, {20, 7}, {19, 8}, {22, 7}, {25, 9}} { // 8 came late, and is not noted
		end.note(r.offset, r.epoch)
	}
	for _, test := range []struct {
		has  EpochEnd
		from int64
		lost bool
	}{
		{EpochEnd{9, 26}, 0, false}, {EpochEnd{9, 100}, 0, false}, {EpochEnd{9, 25}, 25, true}, {EpochEnd{9, 15}, 15, true},
		{EpochEnd{8, 100}, 25, true}, {EpochEnd{7, 100}, 25, true}, {EpochEnd{7, 22}, 22, true},
		{EpochEnd{6, 100}, 20, true}, {EpochEnd{3, 11}, 11, true}, {EpochEnd{0, 100}, 10, true}, {EpochEnd{0, 5}, 5, true},
		{EpochEnd{-1, 30}, 0, false}, {EpochEnd{-1, 20}, 20, true},
	} {
		if from, lost := end.lostFrom(test.has); lost != test.lost || lost && from != test.from {
			t.Errorf("%+v: lost %v from %d on, want %v from %d on", test.has, lost, from, test.lost, test.from)
		}
	}
	for epoch := range int32(3 * maxEpochStarts) {
		end.note(100+int64(epoch), 10+epoch)
	}
	if len(end.starts) != maxEpochStarts {
		t.Errorf("%d epochs are remembered, want %d", len(end.starts), maxEpochStarts)
	}
}

package kafka

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// deaf starts n clients that send a request twice each and never read. Their connections keep nothing of what is sent to
// them. The function that it returns closes them.
func (h *testServer) deaf(n int, req kmsg.Request) (closeAll func()) {
	var clients []net.Conn
	for range n {
		ours, theirs := net.Pipe()
		go h.server.ServeConn(context.Background(), theirs)
		if _, err := ours.Write(bytes.Repeat(frameOf(req, 1), 2)); err != nil {
			h.t.Fatal(err)
		}
		clients = append(clients, ours)
	}
	return func() {
		for _, c := range clients {
			c.Close()
		}
	}
}

// peak returns a function that returns the largest number of bytes that were in use in the budget at one of its calls.
func (h *testServer) peak() func() int64 {
	var largest int64
	return func() int64 {
		largest = max(largest, h.server.responseBytes.inUse())
		return largest
	}
}

// Clients fetch, one batch of 1 MB each, and never read. Together they may hold what the budget has and a few batches
// more. Another client is answered with records, since some of them are closed.
func TestUnreadFetchesAreBounded(t *testing.T) {
	const budgetBytes, batchBytes = 16 << 20, 1_000_000
	h := newTestServer(t, func(c *Config) { c.MaxResponseBytes = budgetBytes })
	topic := h.topic("big", 1)
	producer := h.dial()
	for range 8 {
		roundTrip[*kmsg.ProduceResponse](producer, produceTo(topic, 0, records(string(make([]byte, batchBytes)))), 9)
	}
	peak := h.peak()
	fetch := fetchFrom(topic, 0, 0, time.Second)
	fetch.SetVersion(12)
	closeAll := h.deaf(100, fetch)
	eventually(t, "the budget to be used up", func() bool { return peak() > budgetBytes-batchBytes })
	honest := h.dial()
	eventually(t, "a client that reads to get records", func() bool {
		peak()
		got := roundTrip[*kmsg.FetchResponse](honest, fetch, 12).Topics[0].Partitions[0]
		if got.ErrorCode != none {
			t.Fatal(got.ErrorCode)
		}
		return len(got.RecordBatches) > batchBytes
	})
	if most := int64(budgetBytes + 10*batchBytes); peak() > most {
		t.Errorf("%d bytes waited for clients that do not read, at most %d may", peak(), most)
	}
	closeAll()
	eventually(t, "all bytes to be given back", func() bool { return h.server.responseBytes.inUse() == 0 })
}

// Clients ask for the metadata of many topics and never read.
func TestUnreadMetadataIsBounded(t *testing.T) {
	const budgetBytes = 2 << 20
	h := newTestServer(t, func(c *Config) { c.MaxResponseBytes = budgetBytes })
	for i := range 20 {
		h.topic(fmt.Sprint("topic-", i), 200)
	}
	all := kmsg.NewPtrMetadataRequest()
	honest := h.dial()
	responseBytes := int64(len(roundTrip[*kmsg.MetadataResponse](honest, all, 9).AppendTo(nil)))
	if responseBytes < 80_000 {
		t.Fatalf("the response has only %d bytes", responseBytes)
	}
	peak := h.peak()
	defer h.deaf(60, all)()
	eventually(t, "the budget to be used up", func() bool { return peak() > budgetBytes-responseBytes })
	roundTrip[*kmsg.MetadataResponse](honest, all, 9)
	if most := budgetBytes + 4*responseBytes; peak() > most {
		t.Errorf("%d bytes waited for clients that do not read, at most %d may", peak(), most)
	}
}

// While others make large responses, further ones wait, and producers do not.
func TestLargeResponsesTakeTurns(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	var taken []*turn
	for range cap(h.server.turns) {
		taken = append(taken, h.server.takeTurn(t.Context()))
	}
	waiting := h.dial()
	all := kmsg.NewPtrMetadataRequest()
	all.SetVersion(9)
	correlation := waiting.send(all)
	eventually(t, "the request to wait", func() bool { return h.requestsInWork() == 1 })
	if got := roundTrip[*kmsg.ProduceResponse](h.dial(), produceTo(topic, 0, records("x")), 9); got.Topics[0].Partitions[0].ErrorCode != none {
		t.Errorf("%+v", got)
	}
	if h.requestsInWork() != 1 {
		t.Error("a large response was made without a turn")
	}
	for _, turn := range taken {
		h.server.giveTurn(turn)
	}
	receive[*kmsg.MetadataResponse](waiting, all, correlation)

	// A client that goes while it waits takes no turn with it.
	for i := range taken {
		taken[i] = h.server.takeTurn(t.Context())
	}
	gone := h.dial()
	gone.send(all)
	eventually(t, "the request to wait", func() bool { return h.requestsInWork() == 1 })
	gone.net.Close()
	eventually(t, "the connection to end", func() bool { return h.server.Connections() == 2 })
	for _, turn := range taken {
		h.server.giveTurn(turn)
	}
	eventually(t, "all turns to be given back", func() bool { return len(h.server.turns) == cap(h.server.turns) })
}

// What groups and requests take is not left for responses, but a quarter is.
func TestResponsesShareTheBudget(t *testing.T) {
	var others int64
	b := &responseBudget{maxBytes: 64 << 20, minBytes: 16 << 20, others: func() int64 { return others }, closeUnread: func(int64) {}}
	for _, c := range []struct {
		others int64
		want   int
	}{{0, 16 << 20}, {32 << 20, 8 << 20}, {60 << 20, 4 << 20}, {1 << 30, 4 << 20}} {
		others = c.others
		got := b.Take(1 << 30)
		if got != c.want {
			t.Errorf("with %d bytes of others %d may be read, want %d", c.others, got, c.want)
		}
		b.Return(got)
	}
	b.add(16 << 20)
	if got := b.Take(1); got != 0 || b.inUse() != 16<<20 {
		t.Errorf("%d bytes may be read when none are left, %d are in use", got, b.inUse())
	}
	others = 0
	if got := b.Take(1); got != 1 {
		t.Errorf("%d bytes may be read when there is room again", got)
	}
}

var _ engine.ReadBudget = (*responseBudget)(nil)

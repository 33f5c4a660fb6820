package bench

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"tidings.dev/broker"
)

// Case: a raw reader never asks for what is not there yet, which would come late: each answer brings it something.
func TestRawReaderBeginsAgainAtTheEnd(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	e := Endpoint{Seeds: []string{"broker:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }}
	if err := e.CreateTopic(t.Context(), Topic{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if err := Fill(t.Context(), e, "t", Load{RecordBytes: 1000, Keys: 10, BatchBytes: 10_000}, 100, nil); err != nil {
		t.Fatal(err)
	}
	conn, err := e.dial(t.Context(), "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var records, bytes atomic.Int64
	r := &rawReader{conn: conn, topic: "t", fetchBytes: 20_000, records: &records, bytes: &bytes, next: map[int32]int64{0: 0, 1: 0}}
	ends := map[int32]int{}
	for range 50 {
		before := records.Load()
		if err := r.fetch(); err != nil {
			t.Fatal(err)
		}
		if records.Load() == before {
			t.Error("an answer without records")
		}
		for partition, next := range r.next {
			if next == 0 {
				ends[partition]++
			}
		}
	}
	if ends[0] < 2 || ends[1] < 2 {
		t.Errorf("came to the ends %v times", ends)
	}
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// TestAnswersFollowTheirRequestsRowByRow sends Produce and Fetch requests of every version, encoded by kmsg, with
// random topics and partitions. The response, decoded by kmsg, must have a row for each partition in the order of the
// request.
func TestAnswersFollowTheirRequestsRowByRow(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	rng := seeded(t)
	for v := range lookupAPI(keyProduce).max + 1 {
		for range 20 {
			req := randomRequest(rng, keyProduce, v).(*kmsg.ProduceRequest)
			req.Acks = -1
			resp := roundTrip[*kmsg.ProduceResponse](w, req, v)
			if len(resp.Topics) != len(req.Topics) {
				t.Fatalf("Produce v%d: %d topics, want %d", v, len(resp.Topics), len(req.Topics))
			}
			for i, topic := range req.Topics {
				got := resp.Topics[i]
				if v < 13 && got.Topic != topic.Topic || v >= 13 && got.TopicID != topic.TopicID || len(got.Partitions) != len(topic.Partitions) {
					t.Fatalf("Produce v%d: %+v for %+v", v, got, topic)
				}
				for j, p := range topic.Partitions {
					if row := got.Partitions[j]; row.Partition != p.Partition || row.ErrorCode == none || row.BaseOffset != -1 {
						t.Fatalf("Produce v%d: %+v for partition %d", v, row, p.Partition)
					}
				}
			}
		}
	}
	for v := lookupAPI(keyFetch).min; v <= lookupAPI(keyFetch).max; v++ {
		for range 20 {
			req := randomRequest(rng, keyFetch, v).(*kmsg.FetchRequest)
			req.SessionEpoch = -int32(rng.IntN(2)) // a full fetch, that asks for a session or does not
			if len(req.Topics) == 0 {
				req.MaxWaitMillis = 0
			}
			resp := roundTrip[*kmsg.FetchResponse](w, req, v)
			if resp.ErrorCode != none || len(resp.Topics) != len(req.Topics) {
				t.Fatalf("Fetch v%d: %+v", v, resp)
			}
			for i, topic := range req.Topics {
				got := resp.Topics[i]
				if v < 13 && got.Topic != topic.Topic || v >= 13 && got.TopicID != topic.TopicID || len(got.Partitions) != len(topic.Partitions) {
					t.Fatalf("Fetch v%d: %+v for %+v", v, got, topic)
				}
				for j, p := range topic.Partitions {
					if row := got.Partitions[j]; row.Partition != p.Partition || row.ErrorCode == none {
						t.Fatalf("Fetch v%d: %+v for partition %d", v, row, p.Partition)
					}
				}
			}
		}
	}
}

// FuzzProduceFrame checks that kmsg accepts every Produce request that checkProduceFrame accepts, and that
// checkProduceFrame never panics and stops at a count that cannot be true.
func FuzzProduceFrame(f *testing.F) {
	for v := range lookupAPI(keyProduce).max + 1 {
		req := produceTo(meta.Topic{Name: "orders"}, 0, records("x"))
		req.SetVersion(v)
		f.Add(v, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > lookupAPI(keyProduce).max {
			t.Skip()
		}
		d := requestDecoder{rest: body, flexible: version >= lookupAPI(keyProduce).flexible}
		if version >= 3 {
			d.nullableStr()
		}
		d.int16()
		d.int32()
		if _, err := checkProduceFrame(d, version); err != nil {
			return
		}
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		if err := req.ReadFrom(body); err != nil {
			t.Errorf("v%d: kmsg refuses it: %v\n%x", version, err, body)
		}
	})
}

// TestErrorCodes checks the error codes that clients act on. The codes for retriable errors and for an old producer
// epoch (trap 6) differ between the data APIs and the coordinator APIs.
func TestErrorCodes(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("while busy: %w", err) }
	for _, c := range []struct {
		err               error
		data, coordinator Code
	}{
		{nil, none, none},
		{engine.ErrUnknownTopic, 3, 3},
		{engine.ErrOffsetOutOfRange, 1, 1},
		{engine.ErrStorage, 56, 15},
		{engine.ErrClosed, 6, 15},
		{context.Canceled, 6, 15},
		{txn.ErrInvalidProducerEpoch, 47, 90},
		{txn.ErrOutOfOrderSequence, 45, 45},
		{&txn.SequenceError{Err: txn.ErrOutOfOrderSequence}, 45, 45},
		{group.ErrRebalanceInProgress, 27, 27},
		{group.ErrMemberIDRequired, 79, 79},
		{group.ErrFencedInstance, 82, 82},
		{errors.New("no idea"), -1, -1},
	} {
		if got := dataCode(c.err); got != c.data {
			t.Errorf("%v: data code %d, want %d", c.err, got, c.data)
		}
		if got := coordinatorCode(c.err); got != c.coordinator {
			t.Errorf("%v: coordinator code %d, want %d", c.err, got, c.coordinator)
		}
		if c.err != nil && dataCode(wrapped(c.err)) != c.data {
			t.Errorf("%v: another code when wrapped", c.err)
		}
	}
}

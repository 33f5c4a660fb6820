package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
)

// TestProduceAndFetchInEveryVersion stores a batch with every version of Produce, and reads it with every version of
// Fetch: the bytes must be the same.
func TestProduceAndFetchInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 2)
	w := h.dial()

	var stored []string
	for v := int16(minProduce); v <= lookupAPI(keyProduce).max; v++ {
		value := fmt.Sprintf("produced in version %d", v)
		resp := roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 1, records(value)), v)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != none || p.BaseOffset != int64(len(stored)) || p.Partition != 1 {
			t.Fatalf("v%d: %+v", v, p)
		}
		stored = append(stored, value)
	}
	for v := lookupAPI(keyFetch).min; v <= lookupAPI(keyFetch).max; v++ {
		for offset := range stored {
			resp := roundTrip[*kmsg.FetchResponse](w, fetchFrom(topic, 1, int64(offset), time.Second), v)
			p := resp.Topics[0].Partitions[0]
			if p.ErrorCode != none || p.HighWatermark != int64(len(stored)) || p.LastStableOffset != p.HighWatermark {
				t.Fatalf("v%d: %+v", v, p)
			}
			if got := values(t, p.RecordBatches); !slices.Equal(got, stored[offset:]) {
				t.Fatalf("v%d at %d: %q", v, offset, got)
			}
		}
	}
}

// TestFetchOfLargeAndSmallBatches mixes batches that are copied into the response with batches that are attached to it.
// They must arrive in order.
func TestFetchOfLargeAndSmallBatches(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 3)
	w := h.dial()
	want := make([][]string, 3)
	for i := range 12 {
		value := fmt.Sprint(i) + strings.Repeat("x", (i%3)*40_000)
		p := int32(i % 3)
		roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, p, records(value)), 9)
		want[p] = append(want[p], value)
	}
	for _, version := range []int16{4, 11, 12, 18} {
		req := fetchFrom(topic, 0, 0, time.Second)
		for p := range int32(2) {
			row := req.Topics[0].Partitions[0]
			row.Partition = p + 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, row)
		}
		resp := roundTrip[*kmsg.FetchResponse](w, req, version)
		for i, p := range resp.Topics[0].Partitions {
			if got := values(t, p.RecordBatches); !slices.Equal(got, want[i]) {
				t.Errorf("v%d partition %d: %d values, want %d", version, i, len(got), len(want[i]))
			}
		}
	}
}

// TestProduceBelowVersionThree sends a Produce version that has only old message formats. The broker advertises the
// version, and must answer UNSUPPORTED_VERSION in that version's encoding.
func TestProduceBelowVersionThree(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for v := range int16(minProduce) {
		resp := roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, records("x")), v)
		if got := resp.Topics[0].Partitions[0]; got.ErrorCode != unsupportedVersion {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

// TestProduceRefusals checks that a refused batch gets its error code, and that the other batches of the request are
// appended.
func TestProduceRefusals(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	id := "tx"
	var b batch.Builder
	b.Producer(7, 0, 0)
	b.Transactional(false)
	b.Add(1, nil, []byte("bad"))
	transactional := b.Batch()
	zstd := func(b []byte) []byte { b[22] |= byte(batch.Zstd); return b }
	for _, c := range []struct {
		name    string
		version int16
		change  func(*kmsg.ProduceRequest, *kmsg.ProduceRequestTopicPartition)
		want    Code
	}{
		{"unknown partition", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Partition = 1 }, unknownTopicOrPartition},
		{"negative partition", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Partition = -1 }, unknownTopicOrPartition},
		{"unknown topic", 9, func(r *kmsg.ProduceRequest, _ *kmsg.ProduceRequestTopicPartition) { r.Topics[0].Topic = "no" }, unknownTopicOrPartition},
		{"unknown id", 13, func(r *kmsg.ProduceRequest, _ *kmsg.ProduceRequestTopicPartition) { r.Topics[0].TopicID = [16]byte{1} }, unknownTopicID},
		{"acks 2", 9, func(r *kmsg.ProduceRequest, _ *kmsg.ProduceRequestTopicPartition) { r.Acks = 2 }, invalidRequiredAcks},
		{"unknown transaction", 9, func(r *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			r.TransactionID, p.Records = &id, transactional
		}, invalidProducerIDMapping},
		{"no transactional id", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records = transactional }, transactionalIDAuthorizationFailed},
		{"no batch", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records = nil }, invalidRecord},
		{"half a batch", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = p.Records[:len(p.Records)-1]
		}, invalidRecord},
		{"two batches", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = append(p.Records, p.Records...)
		}, invalidRecord},
		{"flipped bit", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[len(p.Records)-1] ^= 1 }, corruptMessage},
		{"gzip that is none", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records[22] |= byte(batch.Gzip)
			reseal(p.Records)
		}, invalidRecord},
		{"base offset 7", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[7] = 7 }, invalidRecord},
		{"impossible bytes after the batch", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = append(p.Records, make([]byte, 60)...)
		}, corruptMessage},
		{"magic 3", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[16] = 3 }, corruptMessage},
		{"length 20", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records[10], p.Records[11] = 0, 20
		}, corruptMessage},
		{"magic 1", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[16] = 1 }, invalidRecord},
		{"zstd in version 6", 6, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { zstd(p.Records) }, unsupportedCompressionType},
		{"too large", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = records(strings.Repeat("x", 2<<20))
		}, messageTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			good, bad := produceTo(topic, 0, records("good")), produceTo(topic, 0, records("bad"))
			c.change(bad, &bad.Topics[0].Partitions[0])
			whole := bad.Acks == 2 || bad.TransactionID != nil
			if !whole {
				bad.Topics = append(bad.Topics, good.Topics...)
			}
			resp := roundTrip[*kmsg.ProduceResponse](w, bad, c.version)
			if got := resp.Topics[0].Partitions[0]; got.ErrorCode != c.want || got.BaseOffset != -1 {
				t.Errorf("%+v, want code %d", got, c.want)
			} else if c.version >= 8 && (got.ErrorMessage == nil || *got.ErrorMessage == "") {
				t.Error("no reason given")
			}
			if !whole && resp.Topics[1].Partitions[0].ErrorCode != none {
				t.Errorf("the good one: %+v", resp.Topics[1].Partitions[0])
			}
		})
	}
}

// reseal sets the checksum of a batch.
func reseal(b []byte) { binary.BigEndian.PutUint32(b[17:], batch.View(b).Checksum()) }

// TestProduceIgnoresWhatFollowsTheBatch checks that bytes after a batch that are no whole batch are ignored, as in Apache
// Kafka, whether the log copies the batch or keeps the frame it came in.
func TestProduceIgnoresWhatFollowsTheBatch(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	want := int64(0)
	for _, value := range []string{"x", strings.Repeat("x", 100<<10)} {
		for _, more := range [][]byte{{0, 0, 0}, records("half")[:40]} {
			sent := records(value)
			resp := roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, append(bytes.Clone(sent), more...)), 9)
			if got := resp.Topics[0].Partitions[0]; got.ErrorCode != none || got.BaseOffset != want {
				t.Fatalf("with %d bytes more: %+v, want offset %d", len(more), got, want)
			}
			got := roundTrip[*kmsg.FetchResponse](w, fetchFrom(topic, 0, want, 0), 12).Topics[0].Partitions[0].RecordBatches
			if len(got) != len(sent) || !bytes.Equal(got[batch.CRCFrom:], sent[batch.CRCFrom:]) {
				t.Errorf("with %d bytes more: %d bytes come back for %d", len(more), len(got), len(sent))
			}
			want++
		}
	}
}

// TestProduceIdempotent checks that a batch which an idempotent producer repeats is answered with its first offset
// (trap 3), and that an old epoch gets the code of the Produce API (trap 6).
func TestProduceIdempotent(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for v := range lookupAPI(keyInitProducerID).max + 1 {
		if got := roundTrip[*kmsg.InitProducerIDResponse](w, kmsg.NewPtrInitProducerIDRequest(), v); got.ErrorCode != none || got.ProducerEpoch != 0 {
			t.Fatalf("v%d: %+v", v, got)
		}
	}
	id := roundTrip[*kmsg.InitProducerIDResponse](w, kmsg.NewPtrInitProducerIDRequest(), 4)
	send := func(epoch int16, sequence int32) kmsg.ProduceResponseTopicPartition {
		var b batch.Builder
		b.Producer(id.ProducerID, epoch, sequence)
		b.Add(1, nil, []byte("x"))
		return roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, b.Batch()), 9).Topics[0].Partitions[0]
	}
	for i, c := range []struct {
		epoch    int16
		sequence int32
		offset   int64
		want     Code
	}{
		{0, 0, 0, none}, {0, 1, 1, none}, {0, 1, 1, none}, {0, 0, 0, none}, {0, 3, -1, outOfOrderSequence}, {0, 2, 2, none},
		{1, 0, 3, none}, {0, 3, -1, invalidProducerEpoch},
	} {
		if got := send(c.epoch, c.sequence); got.ErrorCode != c.want || got.BaseOffset != c.offset {
			t.Errorf("%d: epoch %d sequence %d: %+v", i, c.epoch, c.sequence, got)
		}
	}
}

// TestAcksZeroDoesNotMisalign checks that a Produce with acks=0 gets no response, and that the next response belongs to
// the next request (trap 19).
func TestAcksZeroDoesNotMisalign(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	silent := produceTo(topic, 0, records("silent"))
	silent.Acks = 0
	silent.SetVersion(9)
	for range 20 {
		w.send(silent)
		acked := produceTo(topic, 0, records("acked"))
		if got := roundTrip[*kmsg.ProduceResponse](w, acked, 9).Topics[0].Partitions[0]; got.ErrorCode != none {
			t.Fatalf("%+v", got)
		}
	}
	if got := roundTrip[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0]; got.Offset != 40 {
		t.Errorf("%d records, want 40", got.Offset)
	}
	// Case: the append fails. Instead of sending a response, the broker closes the connection.
	silent.Topics[0].Partitions[0].Partition = 7
	w.send(silent)
	w.closedByServer()
}

// TestAcksZeroThenGone has a client send a Produce with acks=0 and disconnect at once. Every complete request must be
// appended.
func TestAcksZeroThenGone(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	poll := fetchFrom(topic, 0, 0, time.Minute) // keeps the worker busy with a Fetch that waits
	poll.SetVersion(12)
	w.send(poll)
	silent := produceTo(topic, 0, records("silent"))
	silent.Acks = 0
	silent.SetVersion(9)
	for range 10 {
		w.send(silent)
	}
	w.net.Close()
	w = h.dial()
	eventually(t, "10 records", func() bool {
		return roundTrip[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0].Offset == 10
	})
}

// TestPipelinedAnswersKeepTheirOrder sends many requests without waiting for responses. The responses must come in the
// order of the requests, although Produce requests are completed by the journal and others at once.
func TestPipelinedAnswersKeepTheirOrder(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 4)
	w := h.dial()
	rng := seeded(t)
	var sent []kmsg.Request
	for i := range 400 {
		var req kmsg.Request
		switch rng.IntN(4) {
		case 0:
			req = kmsg.NewPtrMetadataRequest()
			req.SetVersion(int16(rng.IntN(14)))
		case 1:
			req = latest(topic)
			req.SetVersion(1 + int16(rng.IntN(11)))
		default:
			req = produceTo(topic, int32(rng.IntN(4)), records(fmt.Sprint(i)))
			req.SetVersion(minProduce + int16(rng.IntN(11)))
		}
		sent = append(sent, req)
	}
	go func() {
		for i, req := range sent {
			if _, err := w.net.Write(frameOf(req, int32(i))); err != nil {
				return
			}
		}
	}()
	next := map[int32]int64{}
	for i, req := range sent {
		resp := receive[kmsg.Response](w, req, int32(i))
		if p, ok := resp.(*kmsg.ProduceResponse); ok {
			row := p.Topics[0].Partitions[0]
			if row.ErrorCode != none || row.BaseOffset != next[row.Partition] {
				t.Fatalf("request %d: %+v, want offset %d", i, row, next[row.Partition])
			}
			next[row.Partition]++
		}
	}
}

// TestFetchWaitsForNoRequestBehindIt sends a request behind a Fetch that waits for records, and one together with such a Fetch.
// Both Fetches are answered long before max_wait_ms has passed, without records.
func TestFetchWaitsForNoRequestBehindIt(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	fetch := fetchFrom(topic, 0, 0, 10*patience)
	fetch.SetVersion(12)
	behind := kmsg.NewPtrListGroupsRequest()
	behind.SetVersion(4)
	for _, together := range []bool{false, true} {
		var correlation int32
		if together {
			w.write(slices.Concat(frameOf(fetch, 101), frameOf(behind, 102)))
			correlation = 101
		} else {
			correlation = w.send(fetch)
			eventually(t, "the fetch to wait", func() bool { return h.requestsInWork() == 1 })
			w.write(frameOf(behind, 102))
		}
		got := receive[*kmsg.FetchResponse](w, fetch, correlation).Topics[0].Partitions[0]
		if got.ErrorCode != none || len(got.RecordBatches) > 0 {
			t.Errorf("together %t: %+v", together, got)
		}
		receive[*kmsg.ListGroupsResponse](w, behind, 102)
	}

	// Case: the next Fetch, behind which nothing waits, waits for records.
	correlation := w.send(fetch)
	w.net.SetReadDeadline(time.Now().Add(3 * hurriedFetchWait))
	if _, _, err := w.tryRead(); !isTimeout(err) {
		t.Fatal("answered before there was anything to tell:", err)
	}
	w.net.SetReadDeadline(time.Now().Add(patience))
	roundTrip[*kmsg.ProduceResponse](h.dial(), produceTo(topic, 0, records("here")), 9)
	if v := values(t, receive[*kmsg.FetchResponse](w, fetch, correlation).Topics[0].Partitions[0].RecordBatches); !slices.Equal(v, []string{"here"}) {
		t.Errorf("%q", v)
	}
}

// TestFetchWaitsForAnAppend checks that a Fetch which waits for records is answered when a batch is appended to its
// partition, long before max_wait_ms has passed, and not by an append elsewhere.
func TestFetchWaitsForAnAppend(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 2)
	reader, writer := h.dial(), h.dial()
	req := fetchFrom(topic, 1, 0, 10*patience)
	req.SetVersion(12)
	correlation := reader.send(req)

	roundTrip[*kmsg.ProduceResponse](writer, produceTo(topic, 0, records("elsewhere")), 9)
	reader.net.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, _, err := reader.tryRead(); !isTimeout(err) {
		t.Fatal("answered before there was anything to tell:", err)
	}
	reader.net.SetReadDeadline(time.Now().Add(patience))
	roundTrip[*kmsg.ProduceResponse](writer, produceTo(topic, 1, records("here")), 9)
	got := receive[*kmsg.FetchResponse](reader, req, correlation).Topics[0].Partitions[0]
	if v := values(t, got.RecordBatches); !slices.Equal(v, []string{"here"}) {
		t.Errorf("%q", v)
	}

	// Case: no batch is appended. The response is empty, and comes after max_wait_ms.
	start := time.Now()
	idle := roundTrip[*kmsg.FetchResponse](reader, fetchFrom(topic, 1, 1, 80*time.Millisecond), 12).Topics[0].Partitions[0]
	if len(idle.RecordBatches) != 0 || idle.HighWatermark != 1 || time.Since(start) < 70*time.Millisecond {
		t.Errorf("%+v after %v", idle, time.Since(start))
	}
}

// TestFetchEndsWithItsConnection checks that a waiting Fetch ends at once when its client disconnects, and releases its
// bytes.
func TestFetchEndsWithItsConnection(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	for range 20 {
		w := h.dial()
		req := fetchFrom(topic, 0, 0, time.Minute)
		req.SetVersion(12)
		w.send(req)
		w.net.Close()
	}
	eventually(t, "no connection left", func() bool { return h.server.Connections() == 0 })
	if used := h.server.requestBytes.inUse(); used != 0 { // a connection releases its bytes before it ends
		t.Errorf("%d bytes of frames still held", used)
	}
}

// TestFetchRefusals checks the error codes of Fetch, for single partitions and for the whole request.
func TestFetchRefusals(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, records("x")), 9)
	type row = kmsg.FetchRequestTopicPartition
	for _, c := range []struct {
		name    string
		version int16
		change  func(*kmsg.FetchRequest, *row)
		want    Code
	}{
		{"unknown topic", 12, func(r *kmsg.FetchRequest, _ *row) { r.Topics[0].Topic = "no" }, unknownTopicOrPartition},
		{"unknown id", 13, func(r *kmsg.FetchRequest, _ *row) { r.Topics[0].TopicID = [16]byte{1} }, unknownTopicID},
		{"unknown partition", 12, func(_ *kmsg.FetchRequest, p *row) { p.Partition = 1 }, unknownTopicOrPartition},
		{"above the end", 12, func(_ *kmsg.FetchRequest, p *row) { p.FetchOffset = 2 }, offsetOutOfRange},
		{"below the start", 12, func(_ *kmsg.FetchRequest, p *row) { p.FetchOffset = -5 }, offsetOutOfRange},
		{"newer epoch", 12, func(_ *kmsg.FetchRequest, p *row) { p.CurrentLeaderEpoch = 1000 }, unknownLeaderEpoch},
	} {
		req := fetchFrom(topic, 0, 0, time.Minute) // a partition with an error is answered without waiting
		c.change(req, &req.Topics[0].Partitions[0])
		got := roundTrip[*kmsg.FetchResponse](w, req, c.version)
		if p := got.Topics[0].Partitions[0]; p.ErrorCode != c.want {
			t.Errorf("%s: code %d, want %d", c.name, p.ErrorCode, c.want)
		}
	}

	// Fetch sessions (trap 13): an incremental fetch names a session that does not exist, and so does a full fetch, which
	// is answered all the same.
	incremental := fetchFrom(topic, 0, 0, time.Second)
	incremental.SessionID, incremental.SessionEpoch = 42, 3
	if got := roundTrip[*kmsg.FetchResponse](w, incremental, 12); got.ErrorCode != fetchSessionIDNotFound || len(got.Topics) != 0 {
		t.Errorf("incremental: %+v", got)
	}
	full := fetchFrom(topic, 0, 0, time.Second)
	full.SessionID, full.SessionEpoch = 42, 0
	if got := roundTrip[*kmsg.FetchResponse](w, full, 12); got.ErrorCode != none || got.SessionID == 42 || len(got.Topics) != 1 {
		t.Errorf("full: %+v", got)
	}
}

// TestFetchInsideABatch fetches from an offset in the middle of a batch, and must get the whole batch (trap 2).
func TestFetchInsideABatch(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	sent := records("a", "b", "c")
	roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, bytes.Clone(sent)), 9)
	got := roundTrip[*kmsg.FetchResponse](w, fetchFrom(topic, 0, 2, time.Second), 12).Topics[0].Partitions[0]
	if v := values(t, got.RecordBatches); !slices.Equal(v, []string{"a", "b", "c"}) {
		t.Errorf("%q", v)
	}
	// Except for the base offset and the leader epoch, the batch is the one that was sent: its checksum covers
	// everything else.
	if !bytes.Equal(got.RecordBatches[16:], sent[16:]) {
		t.Error("the stored batch is not the one that was sent")
	}
}

// TestDrain checks that Drain answers all requests that were read, including waiting Fetch requests, and ends every
// connection.
func TestDrain(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	poller, idler := h.dial(), h.dial()
	req := fetchFrom(topic, 0, 0, time.Minute)
	req.SetVersion(12)
	roundTrip[*kmsg.ApiVersionsResponse](idler, kmsg.NewPtrApiVersionsRequest(), 0)
	eventually(t, "the idle connection to have nothing in work", func() bool { return h.requestsInWork() == 0 })
	correlation := poller.send(req)
	eventually(t, "the poll to be read", func() bool { return h.requestsInWork() == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.server.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := receive[*kmsg.FetchResponse](poller, req, correlation); len(got.Topics) != 1 {
		t.Errorf("%+v", got)
	}
	poller.closedByServer()
	idler.closedByServer()
	h.dial().closedByServer() // later connections are refused
}

// latest returns a ListOffsets request for the end offset of partition 0.
func latest(topic meta.Topic) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -1, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return req
}

// values returns the values of all records in the batches b, in order.
func values(t *testing.T, b []byte) []string {
	t.Helper()
	var out []string
	for v, err := range batch.Split(b) {
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range batch.Records(v, 1<<20) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(r.Value))
		}
	}
	return out
}

// eventually calls ok every millisecond until it returns true. It fails the test if that takes longer than patience.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting for ", what)
		}
	}
}

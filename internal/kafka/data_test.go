package kafka

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
)

// Every version of Produce and Fetch goes around: what one version stores, each version reads, byte for byte.
func TestProduceAndFetchInEveryVersion(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 2)
	w := h.dial()

	var stored []string
	for v := int16(minProduce); v <= lookup(keyProduce).max; v++ {
		value := fmt.Sprintf("produced in version %d", v)
		resp := ask[*kmsg.ProduceResponse](w, produceTo(topic, 1, records(value)), v)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != none || p.BaseOffset != int64(len(stored)) || p.Partition != 1 {
			t.Fatalf("v%d: %+v", v, p)
		}
		stored = append(stored, value)
	}
	for v := lookup(keyFetch).min; v <= lookup(keyFetch).max; v++ {
		for offset := range stored {
			resp := ask[*kmsg.FetchResponse](w, fetchFrom(topic, 1, int64(offset), time.Second), v)
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

// Large batches are attached to the answer, not copied into it; small and large ones come out in order.
func TestFetchOfLargeAndSmallBatches(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 3)
	w := h.dial()
	want := make([][]string, 3)
	for i := range 12 {
		value := fmt.Sprint(i) + strings.Repeat("x", (i%3)*40_000)
		p := int32(i % 3)
		ask[*kmsg.ProduceResponse](w, produceTo(topic, p, records(value)), 9)
		want[p] = append(want[p], value)
	}
	for _, version := range []int16{4, 11, 12, 18} {
		req := fetchFrom(topic, 0, 0, time.Second)
		for p := range int32(2) {
			row := req.Topics[0].Partitions[0]
			row.Partition = p + 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, row)
		}
		resp := ask[*kmsg.FetchResponse](w, req, version)
		for i, p := range resp.Topics[0].Partitions {
			if got := values(t, p.RecordBatches); !slices.Equal(got, want[i]) {
				t.Errorf("v%d partition %d: %d values, want %d", version, i, len(got), len(want[i]))
			}
		}
	}
}

// Case: a version of Produce that only old message formats know. It is advertised, and refused in its own words.
func TestProduceBelowVersionThree(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for v := range int16(minProduce) {
		resp := ask[*kmsg.ProduceResponse](w, produceTo(topic, 0, records("x")), v)
		if got := resp.Topics[0].Partitions[0]; got.ErrorCode != unsupportedVersion {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

// What is wrong with an append is told per partition, and the rest of the request is done.
func TestProduceRefusals(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	id := "tx"
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
		{"transaction", 9, func(r *kmsg.ProduceRequest, _ *kmsg.ProduceRequestTopicPartition) { r.TransactionID = &id }, unsupportedVersion},
		{"no batch", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records = nil }, invalidRecord},
		{"half a batch", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = p.Records[:len(p.Records)-1]
		}, corruptMessage},
		{"two batches", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) {
			p.Records = append(p.Records, p.Records...)
		}, invalidRecord},
		{"flipped bit", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[len(p.Records)-1] ^= 1 }, corruptMessage},
		{"magic 1", 9, func(_ *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition) { p.Records[16] = 1 }, unsupportedForMessageFormat},
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
			resp := ask[*kmsg.ProduceResponse](w, bad, c.version)
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

// Trap 3: a repeated batch of an idempotent producer gets its first offset again. Trap 6: an old epoch is told so in
// the words of the produce path.
func TestProduceIdempotent(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for v := range lookup(keyInitProducerID).max + 1 {
		if got := ask[*kmsg.InitProducerIDResponse](w, kmsg.NewPtrInitProducerIDRequest(), v); got.ErrorCode != none || got.ProducerEpoch != 0 {
			t.Fatalf("v%d: %+v", v, got)
		}
	}
	id := ask[*kmsg.InitProducerIDResponse](w, kmsg.NewPtrInitProducerIDRequest(), 4)
	send := func(epoch int16, sequence int32) kmsg.ProduceResponseTopicPartition {
		var b batch.Builder
		b.Producer(id.ProducerID, epoch, sequence)
		b.Add(1, nil, []byte("x"))
		return ask[*kmsg.ProduceResponse](w, produceTo(topic, 0, b.Batch()), 9).Topics[0].Partitions[0]
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
	// A transactional id is refused cleanly.
	tx := kmsg.NewPtrInitProducerIDRequest()
	name := "tx"
	tx.TransactionalID = &name
	if got := ask[*kmsg.InitProducerIDResponse](w, tx, 4); got.ErrorCode != unsupportedVersion || got.ProducerID != -1 {
		t.Errorf("transactional: %+v", got)
	}
}

// Trap 19: a produce without acknowledgement has no answer, and the next answer is the next request's.
func TestAcksZeroDoesNotMisalign(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	silent := produceTo(topic, 0, records("silent"))
	silent.Acks = 0
	silent.SetVersion(9)
	for range 20 {
		w.send(silent)
		acked := produceTo(topic, 0, records("acked"))
		if got := ask[*kmsg.ProduceResponse](w, acked, 9).Topics[0].Partitions[0]; got.ErrorCode != none {
			t.Fatalf("%+v", got)
		}
	}
	if got := ask[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0]; got.Offset != 40 {
		t.Errorf("%d records, want 40", got.Offset)
	}
	// Case: it fails. Nobody can be told but by the end of the connection.
	silent.Topics[0].Partitions[0].Partition = 7
	w.send(silent)
	w.closedByServer()
}

// Case: a client that wants no acknowledgement sends and leaves at once. Nothing that it sent whole is lost.
func TestAcksZeroThenGone(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	poll := fetchFrom(topic, 0, 0, time.Minute) // the worker is busy with a long poll
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
		return ask[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0].Offset == 10
	})
}

// Requests that are sent ahead are answered in their order, though Produce is completed by the journal and the others
// at once.
func TestPipelinedAnswersKeepTheirOrder(t *testing.T) {
	h := newHouse(t)
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

// A long poll is answered by the append it waits for, at once, and by nothing before.
func TestFetchWaitsForAnAppend(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 2)
	reader, writer := h.dial(), h.dial()
	req := fetchFrom(topic, 1, 0, time.Minute)
	req.SetVersion(12)
	correlation := reader.send(req)

	ask[*kmsg.ProduceResponse](writer, produceTo(topic, 0, records("elsewhere")), 9)
	reader.net.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, _, err := reader.tryRead(); !isTimeout(err) {
		t.Fatal("answered before there was anything to tell:", err)
	}
	reader.net.SetReadDeadline(time.Now().Add(patience))
	ask[*kmsg.ProduceResponse](writer, produceTo(topic, 1, records("here")), 9)
	start := time.Now()
	got := receive[*kmsg.FetchResponse](reader, req, correlation).Topics[0].Partitions[0]
	if v := values(t, got.RecordBatches); !slices.Equal(v, []string{"here"}) {
		t.Errorf("%q", v)
	}
	if waited := time.Since(start); waited > 2*time.Second {
		t.Errorf("woken after %v", waited)
	}

	// Case: nothing comes. The answer is empty, and on time.
	start = time.Now()
	idle := ask[*kmsg.FetchResponse](reader, fetchFrom(topic, 1, 1, 80*time.Millisecond), 12).Topics[0].Partitions[0]
	if len(idle.RecordBatches) != 0 || idle.HighWatermark != 1 || time.Since(start) < 70*time.Millisecond {
		t.Errorf("%+v after %v", idle, time.Since(start))
	}
}

// A long poll whose client has gone ends at once and leaves nothing behind.
func TestFetchEndsWithItsConnection(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	for range 20 {
		w := h.dial()
		req := fetchFrom(topic, 0, 0, time.Minute)
		req.SetVersion(12)
		w.send(req)
		w.net.Close()
	}
	eventually(t, "no connection left", func() bool { return h.server.Connections() == 0 })
	if used := h.server.frames.inUse(); used != 0 { // a connection gives back before it ends
		t.Errorf("%d bytes of frames still held", used)
	}
}

// Refusals of Fetch, row by row and as a whole.
func TestFetchRefusals(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	ask[*kmsg.ProduceResponse](w, produceTo(topic, 0, records("x")), 9)
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
		req := fetchFrom(topic, 0, 0, time.Minute) // an error does not wait
		c.change(req, &req.Topics[0].Partitions[0])
		got := ask[*kmsg.FetchResponse](w, req, c.version)
		if p := got.Topics[0].Partitions[0]; p.ErrorCode != c.want {
			t.Errorf("%s: code %d, want %d", c.name, p.ErrorCode, c.want)
		}
	}

	// Trap 13: sessions. An incremental fetch names one that is not there; a full one gets none.
	incremental := fetchFrom(topic, 0, 0, time.Second)
	incremental.SessionID, incremental.SessionEpoch = 42, 3
	if got := ask[*kmsg.FetchResponse](w, incremental, 12); got.ErrorCode != fetchSessionIDNotFound || len(got.Topics) != 0 {
		t.Errorf("incremental: %+v", got)
	}
	full := fetchFrom(topic, 0, 0, time.Second)
	full.SessionID, full.SessionEpoch = 42, 0
	if got := ask[*kmsg.FetchResponse](w, full, 12); got.ErrorCode != none || got.SessionID != 0 || len(got.Topics) != 1 {
		t.Errorf("full: %+v", got)
	}
}

// Trap 2: an offset inside a batch gets the whole batch.
func TestFetchInsideABatch(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	sent := records("a", "b", "c")
	ask[*kmsg.ProduceResponse](w, produceTo(topic, 0, bytes.Clone(sent)), 9)
	got := ask[*kmsg.FetchResponse](w, fetchFrom(topic, 0, 2, time.Second), 12).Topics[0].Partitions[0]
	if v := values(t, got.RecordBatches); !slices.Equal(v, []string{"a", "b", "c"}) {
		t.Errorf("%q", v)
	}
	// The batch is the batch as sent, but for base offset and leader epoch: its checksum holds and covers all else.
	if !bytes.Equal(got.RecordBatches[16:], sent[16:]) {
		t.Error("the stored batch is not the one that was sent")
	}
}

// A drain answers what has been read, long polls included, and ends every connection.
func TestDrain(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	poller, idler := h.dial(), h.dial()
	req := fetchFrom(topic, 0, 0, time.Minute)
	req.SetVersion(12)
	correlation := poller.send(req)
	ask[*kmsg.ApiVersionsResponse](idler, kmsg.NewPtrApiVersionsRequest(), 0)
	eventually(t, "the poll to be read", func() bool { return h.server.Connections() == 2 })
	time.Sleep(20 * time.Millisecond)

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
	h.dial().closedByServer() // nobody comes in any more
}

// latest asks for the end of partition 0.
func latest(topic meta.Topic) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -1, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return req
}

// values are those of all records in b, in order.
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

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting for ", what)
		}
	}
}

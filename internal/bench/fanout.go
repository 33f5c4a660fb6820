package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawFetchVersion is the Fetch that raw readers speak: the last that names topics and has no compact fields.
const rawFetchVersion = 11

// FanOut reads a whole topic for d with a number of raw readers at once, each on its own connection, each from the
// beginning again when it is through. A raw reader asks and takes bytes as a consumer does, and of the records looks at
// no more than each batch's offsets: what is measured is the broker. The topic must be there and hold records; readers
// stay with the partitions that the leader of partition 0 leads. Records are those in the batches that came (the first
// batch of an answer counts whole), bytes all that came.
func FanOut(ctx context.Context, e Endpoint, topic string, readers int, fetchBytes int32, d time.Duration, p *Progress) (Measured, error) {
	var m Measured
	address, partitions, err := e.leader(ctx, topic)
	if err != nil {
		return m, err
	}
	if fetchBytes == 0 {
		fetchBytes = 1 << 20
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errOver)
	var records, bytes atomic.Int64
	p.counts(bytes.Load)
	var running sync.WaitGroup
	var conns []net.Conn
	for range readers {
		conn, err := e.dial(ctx, address)
		if err != nil {
			cancel(err)
			break
		}
		conns = append(conns, conn)
		r := &rawReader{conn: conn, topic: topic, fetchBytes: fetchBytes, records: &records, bytes: &bytes, at: map[int32]int64{}}
		for _, partition := range partitions {
			r.at[partition] = 0
		}
		running.Go(func() {
			for ctx.Err() == nil {
				if err := r.fetch(); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	_ = pause(ctx, streamWarmup) // who ends it is told below
	firstRecords, firstBytes, t := records.Load(), bytes.Load(), startMeter(e)
	_ = pause(ctx, d)
	m.Records, m.Bytes = records.Load()-firstRecords, bytes.Load()-firstBytes
	t.stop(&m)
	cancel(errOver)
	for _, conn := range conns {
		conn.Close()
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != errOver {
		return m, cause
	}
	if m.Bytes == 0 {
		return m, fmt.Errorf("topic %s gave nothing in %v", topic, d)
	}
	return m, nil
}

// leader returns where partition 0 is led, and which partitions are led there.
func (e Endpoint) leader(ctx context.Context, topic string) (address string, partitions []int32, err error) {
	client, err := e.client(ctx)
	if err != nil {
		return "", nil, err
	}
	defer client.Close()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return "", nil, err
	}
	leaders := map[int32]int32{}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return "", nil, fmt.Errorf("topic %s: %w", topic, err)
		}
		for _, p := range t.Partitions {
			leaders[p.Partition] = p.Leader
		}
	}
	for partition, leader := range leaders {
		if leader == leaders[0] {
			partitions = append(partitions, partition)
		}
	}
	for _, b := range resp.Brokers {
		if b.NodeID == leaders[0] {
			return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), partitions, nil
		}
	}
	return "", nil, fmt.Errorf("topic %s has no leader", topic)
}

// rawReader fetches on one connection. Its buffers are used again for each answer.
type rawReader struct {
	conn           net.Conn
	topic          string
	fetchBytes     int32
	records, bytes *atomic.Int64
	at             map[int32]int64 // where each partition goes on
	request, frame []byte
}

// fetch makes one round trip.
func (r *rawReader) fetch() error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = rawFetchVersion, 100, 1, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = r.topic
	for partition, offset := range r.at {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, r.fetchBytes, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	r.request = kmsg.NewRequestFormatter(kmsg.FormatterClientID("tidings-bench")).AppendRequest(r.request[:0], req, 1)
	if _, err := r.conn.Write(r.request); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(r.conn, size[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if cap(r.frame) < n {
		r.frame = make([]byte, n+n/2)
	}
	frame := r.frame[:n]
	if _, err := io.ReadFull(r.conn, frame); err != nil {
		return err
	}
	r.bytes.Add(int64(n) + int64(len(size)))
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = rawFetchVersion
	if err := resp.ReadFrom(frame[4:]); err != nil { // after the correlation id; aliases the frame
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("read %s/%d: %w", t.Topic, p.Partition, err)
			}
			next, records := walkBatches(p.RecordBatches)
			r.records.Add(records)
			next = max(next, r.at[p.Partition])
			if next >= p.HighWatermark {
				next = 0 // at once: a fetch at the end would wait for more
			}
			r.at[p.Partition] = next
		}
	}
	return nil
}

// walkBatches returns the offset after the last whole batch, 0 if there is none, and how many records they hold.
func walkBatches(b []byte) (next, records int64) {
	for len(b) >= batchHeadBytes {
		size := batchLengthAt + 4 + int(binary.BigEndian.Uint32(b[batchLengthAt:]))
		if size > len(b) || size < batchHeadBytes {
			return next, records
		}
		next = int64(binary.BigEndian.Uint64(b[batchBaseAt:])) + int64(binary.BigEndian.Uint32(b[batchLastDeltaAt:])) + 1
		records += int64(binary.BigEndian.Uint32(b[batchCountAt:]))
		b = b[size:]
	}
	return next, records
}

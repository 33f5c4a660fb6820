package bench

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawFetchVersion is the version of the Fetch requests of a rawReader. It is the last version without compact fields;
// it names topics instead of using ids.
const rawFetchVersion = 11

// rawReader sends Fetch requests on one connection. It decodes only the offsets and record counts of batches. Its
// buffers are reused for each response.
type rawReader struct {
	conn           net.Conn
	topic          string
	fetchBytes     int32
	records, bytes *atomic.Int64
	next           map[int32]int64 // next offset to fetch, by partition
	request, frame []byte
}

// fetch sends one request and reads its response. After it has read a partition to its end, it continues at the
// partition's beginning.
func (r *rawReader) fetch() error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = rawFetchVersion, 100, 1, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = r.topic
	for partition, offset := range r.next {
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
	if err := resp.ReadFrom(frame[4:]); err != nil { // without the correlation id; resp refers to frame
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
			next = max(next, r.next[p.Partition])
			if next >= p.HighWatermark {
				next = 0 // a fetch at the end would wait for new records
			}
			r.next[p.Partition] = next
		}
	}
	return nil
}

// walkBatches returns the offset after the last complete batch in b, or 0 if there is none, and the number of records
// in the complete batches.
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

package bench

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FanOut measures how fast a broker sends a topic to many readers at once. Each reader fetches as a consumer does, on
// a connection of its own. It decodes only the offsets of batches, so that the broker is the bottleneck. A reader
// that reaches the end of the topic starts again at its beginning. Topic, Readers and Duration are required, and the
// topic must have records.
type FanOut struct {
	Topic      string
	Readers    int
	FetchBytes int32         // maximum bytes of one partition in a fetch response; 0: 1 MiB
	Duration   time.Duration // measured time
}

// Run reads for Duration. If the broker is one of several, only the partitions that have the same leader as partition
// 0 are read. Records counts the records of complete batches in responses. Bytes counts all bytes received. The first
// error of a reader ends the run. p may be nil.
func (f FanOut) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	var m Measured
	address, partitions, err := e.leader(ctx, f.Topic)
	if err != nil {
		return m, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errOver)
	var records, bytes atomic.Int64
	p.Counts(bytes.Load)
	var running sync.WaitGroup
	var conns []net.Conn
	for range f.Readers {
		conn, err := e.dial(ctx, address)
		if err != nil {
			cancel(err)
			break
		}
		conns = append(conns, conn)
		r := f.newReader(conn, partitions, &records, &bytes)
		running.Go(func() {
			for ctx.Err() == nil {
				if err := r.fetch(); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	_ = pause(ctx, streamWarmup) // the cause of ctx is checked below
	firstRecords, firstBytes, t := records.Load(), bytes.Load(), StartMeter(e)
	_ = pause(ctx, f.Duration)
	m.Records, m.Bytes = records.Load()-firstRecords, bytes.Load()-firstBytes
	t.Stop(&m)
	cancel(errOver)
	for _, conn := range conns {
		conn.Close()
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != errOver {
		return m, cause
	}
	if m.Bytes == 0 {
		return m, fmt.Errorf("nothing was received of topic %s in %v", f.Topic, f.Duration)
	}
	return m, nil
}

func (f FanOut) newReader(conn net.Conn, partitions []int32, records, bytes *atomic.Int64) *rawReader {
	r := &rawReader{conn: conn, topic: f.Topic, fetchBytes: f.FetchBytes, records: records, bytes: bytes, next: map[int32]int64{}}
	if r.fetchBytes == 0 {
		r.fetchBytes = 1 << 20
	}
	for _, partition := range partitions {
		r.next[partition] = 0
	}
	return r
}

// leader returns the address of the leader of partition 0, and all partitions of the topic that it leads.
func (e Endpoint) leader(ctx context.Context, topic string) (address string, partitions []int32, err error) {
	client, err := e.Client(ctx)
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

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Reading says how a topic is consumed. Records is required.
type Reading struct {
	Records    int64 // that each reader takes, from the beginning
	Groups     int   // consumer groups of one member each; 0: one reader without a group
	Partitions int   // of the topic; needed without a group
	FetchBytes int32 // of one partition in one answer; 0: kgo's own 1 MiB
}

// Consume reads a topic's first records with kgo, once for each group, all at the same time. The clock runs from the
// first connection to the last record. Bytes are keys and values. There is no latency: see EndToEnd.
func Consume(ctx context.Context, e Endpoint, topic string, r Reading, p *Progress) (Measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	readers := max(r.Groups, 1)
	var records, bytes atomic.Int64
	p.counts(records.Load)
	var running sync.WaitGroup
	var m Measured
	t := startMeter(e)
	for range readers {
		opts := r.direct(topic)
		if r.Groups > 0 {
			opts = []kgo.Opt{kgo.ConsumerGroup(groupName()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		}
		if r.FetchBytes > 0 {
			opts = append(opts, kgo.FetchMaxPartitionBytes(r.FetchBytes))
		}
		running.Go(func() {
			client, err := e.client(ctx, opts...)
			if err != nil {
				cancel(err)
				return
			}
			defer client.Close()
			for left := r.Records; left > 0; {
				fetches := client.PollFetches(ctx)
				if ctx.Err() != nil {
					return
				}
				for _, f := range fetches.Errors() {
					cancel(fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err))
					return
				}
				var n, size int64
				fetches.EachPartition(func(p kgo.FetchTopicPartition) {
					n += int64(len(p.Records))
					for _, record := range p.Records {
						size += int64(len(record.Key) + len(record.Value))
					}
				})
				left -= n
				records.Add(n)
				bytes.Add(size)
			}
		})
	}
	running.Wait()
	t.stop(&m)
	m.Records, m.Bytes = records.Load(), bytes.Load()
	return m, context.Cause(ctx)
}

func (r Reading) direct(topic string) []kgo.Opt {
	from := map[int32]kgo.Offset{}
	for i := range max(r.Partitions, 1) {
		from[int32(i)] = kgo.NewOffset().AtStart()
	}
	return []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})}
}

// groupName makes a name that no group had: an old one would go on where it stood.
func groupName() string { return fmt.Sprintf("bench-%016x", rand.Uint64()) }

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Consume measures how fast kgo reads a topic from its beginning. Topic and Records are required.
type Consume struct {
	Topic      string
	Records    int64 // number of records that each reader reads
	Groups     int   // number of consumer groups, each of one member, that read at the same time; 0: one reader without a group
	Partitions int   // number of partitions of the topic; required if Groups is 0
	FetchBytes int32 // maximum bytes of one partition in a fetch response; 0: kgo's default, 1 MiB
}

// Run reads the records. The measured time begins before the first connection and ends with the last record. Bytes
// counts keys and values. Latency is not measured; see [EndToEnd]. Run blocks until every reader has its records. It
// returns the first error of a reader, or the cause of ctx if ctx is cancelled. p may be nil.
func (c Consume) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var records, bytes atomic.Int64
	p.Counts(records.Load)
	var running sync.WaitGroup
	var m Measured
	t := StartMeter(e)
	for range max(c.Groups, 1) {
		running.Go(func() {
			if err := c.read(ctx, e, &records, &bytes); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	t.Stop(&m)
	m.Records, m.Bytes = records.Load(), bytes.Load()
	return m, context.Cause(ctx)
}

// read runs one reader until it has read c.Records records, and adds what it reads to the counters. It returns nil if
// ctx is done.
func (c Consume) read(ctx context.Context, e Endpoint, records, bytes *atomic.Int64) error {
	client, err := e.Client(ctx, c.options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	for left := c.Records; left > 0; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetchError(fetches); err != nil {
			return err
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
	return nil
}

func (c Consume) options() []kgo.Opt {
	var opts []kgo.Opt
	if c.FetchBytes > 0 {
		opts = append(opts, kgo.FetchMaxPartitionBytes(c.FetchBytes))
	}
	if c.Groups > 0 {
		return append(opts, groupOptions(c.Topic, kgo.NewOffset().AtStart())...)
	}
	from := map[int32]kgo.Offset{}
	for i := range max(c.Partitions, 1) {
		from[int32(i)] = kgo.NewOffset().AtStart()
	}
	return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: from}))
}

// groupOptions returns the options of the only member of a new consumer group that reads a topic. The name of the
// group is random, because an existing group would continue at its committed position.
func groupOptions(topic string, from kgo.Offset) []kgo.Opt {
	group := fmt.Sprintf("bench-%016x", rand.Uint64())
	return []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(from)}
}

// fetchError returns the first error of a poll, with its topic and partition, or nil if there is none.
func fetchError(fetches kgo.Fetches) error {
	for _, f := range fetches.Errors() {
		return fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err)
	}
	return nil
}

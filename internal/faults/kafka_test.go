package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// kafkaLog reads a broker with the fetches of a stock client, one request at a time, without the session and the buffers
// of a consumer.
type kafkaLog struct {
	ctx    context.Context
	client *kgo.Client
	admin  *kadm.Client
}

// newKafkaLog connects; the client is closed by the caller. The versions are those in which topics go by name.
func newKafkaLog(ctx context.Context, addr string) (*kafkaLog, error) {
	client, err := kgo.NewClient(append(quick(addr), kgo.MaxVersions(kversion.V2_8_0()), kgo.RequestRetries(2))...)
	if err != nil {
		return nil, err
	}
	return &kafkaLog{ctx, client, kadm.NewClient(client)}, nil
}

// quick are the options of every client here: it retries at once, since the broker comes back in milliseconds.
func quick(addr string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(addr),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
		kgo.MetadataMinAge(10 * time.Millisecond), kgo.MetadataMaxAge(200 * time.Millisecond),
		kgo.AlwaysRetryEOF(), kgo.RequestRetries(100), kgo.RetryTimeout(time.Second),
	}
}

func (k *kafkaLog) topics() (map[string]int32, error) {
	listed, err := k.admin.ListTopics(k.ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]int32{}
	for _, t := range listed {
		if t.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Topic, t.Err)
		}
		all[t.Topic] = int32(len(t.Partitions))
	}
	return all, nil
}

func (k *kafkaLog) read(p topicPartition, from int64) (got []record, start int64, err error) {
	for again := true; again; {
		again = false
		starts, err := k.admin.ListStartOffsets(k.ctx, p.topic)
		if err != nil {
			return nil, 0, err
		}
		listed, ok := starts.Lookup(p.topic, p.partition)
		if !ok || listed.Err != nil {
			return nil, 0, fmt.Errorf("start of %v: %w", p, listed.Err)
		}
		start = listed.Offset
		for next := max(start, from); ; {
			fetched, after, high, err := k.fetch(p, next)
			if errors.Is(err, kerr.OffsetOutOfRange) {
				if high >= 0 && next > high {
					return nil, start, nil // the log ends before: the audit reports what is missing
				}
				got, again = nil, true // retention was faster
				break
			}
			if err != nil {
				return got, start, err
			}
			got = append(got, fetched...)
			if after <= next {
				break
			}
			next = after
		}
	}
	return got, start, nil
}

// fetch reads some records from an offset on. after is where to go on: the same offset at the end of the log.
func (k *kafkaLog) fetch(p topicPartition, from int64) (got []record, after, high int64, err error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.partition, from, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = p.topic, []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.Topics = 1<<20, []kmsg.FetchRequestTopic{topic}
	resp, err := req.RequestWith(k.ctx, k.client)
	if err != nil {
		return nil, from, -1, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, from, -1, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, from, -1, fmt.Errorf("a fetch of %v was answered with %d topics", p, len(resp.Topics))
	}
	answer := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, from, answer.HighWatermark, err
	}
	opts := kgo.ProcessFetchPartitionOpts{Topic: p.topic, Partition: p.partition, Offset: from}
	decoded, after := kgo.ProcessFetchPartition(opts, answer, kgo.DefaultDecompressor(), nil)
	for _, r := range decoded.Records {
		got = append(got, record{r.Offset, string(r.Value)})
	}
	return got, after, answer.HighWatermark, decoded.Err
}

func (k *kafkaLog) committed(group string) (map[topicPartition]int64, error) {
	offsets, err := k.admin.FetchOffsets(k.ctx, group)
	if err != nil {
		return nil, err
	}
	all := map[topicPartition]int64{}
	offsets.Each(func(o kadm.OffsetResponse) { all[topicPartition{o.Topic, o.Partition}] = o.At })
	return all, nil
}

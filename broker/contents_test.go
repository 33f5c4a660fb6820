package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
	"tidings.dev/kgolink"
)

// logContents is the content of a broker, as a client reads it.
type logContents struct {
	names     map[string]string   // names of topics, by the 16 bytes of their ids
	batches   map[batchKey]uint32 // checksums of all batches, with topics by name
	records   map[batchKey]keyed  // all records of compacted topics, with topics by name
	positions map[positionKey]int64
}

// name returns the name of a topic. key is its name, or the 16 bytes of its id.
func (im *logContents) name(key string) string {
	if name, ok := im.names[key]; ok {
		return name
	}
	if len(key) == 16 { // an id: no topic of the shop has a name of 16 bytes
		return fmt.Sprintf("the lost topic %x", key)
	}
	return key
}

// readLogContents reads each partition from beginning to end, and the positions of each group.
func readLogContents(ctx context.Context, where tidings.Connection) (*logContents, error) {
	link, err := where.Connect(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgolink.Options(link)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	im := &logContents{names: map[string]string{}, batches: map[batchKey]uint32{}, records: map[batchKey]keyed{}, positions: map[positionKey]int64{}}
	topics := kmsg.NewPtrMetadataRequest()
	topics.Topics = nil // all
	known, err := topics.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	for _, t := range known.Topics {
		im.names[string(t.TopicID[:])] = *t.Topic
		for _, p := range t.Partitions {
			if err := im.read(ctx, client, t.TopicID, *t.Topic, p.Partition); err != nil {
				return nil, fmt.Errorf("read %s/%d: %w", *t.Topic, p.Partition, err)
			}
		}
	}
	admin := kadm.NewClient(client)
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	for group, answer := range admin.FetchManyOffsets(ctx, groups.Groups()...) {
		if answer.Err != nil {
			return nil, fmt.Errorf("positions of %s: %w", group, answer.Err)
		}
		answer.Fetched.Each(func(o kadm.OffsetResponse) { im.positions[positionKey{group, o.Topic, o.Partition}] = o.At })
	}
	return im, nil
}

// read reads one partition up to its high watermark.
func (im *logContents) read(ctx context.Context, client *kgo.Client, id [16]byte, name string, partition int32) error {
	for next := int64(0); ; {
		request := kmsg.NewPtrFetchRequest()
		request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.SessionEpoch = 0, 0, 64<<20, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = name, id
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, next, 64<<20, -1
		t.Partitions = append(t.Partitions, p)
		request.Topics = append(request.Topics, t)
		response, err := request.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(response.ErrorCode)
		}
		if err != nil {
			return err
		}
		got := response.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return err
		}
		before := next
		for b := range batches(got.RecordBatches) {
			im.batches[batchKey{name, partition, b.baseOffset()}] = b.crc()
			if compacted(name) {
				for offset, r := range recordsOf(b, b.baseOffset()) {
					im.records[batchKey{name, partition, offset}] = r
				}
			}
			next = b.nextOffset()
		}
		if next >= got.HighWatermark {
			return nil
		}
		if next == before {
			return fmt.Errorf("nothing at offset %d, below the high watermark %d", next, got.HighWatermark)
		}
	}
}

// batch is one record batch: base offset (8 bytes), length of the rest (4), leader epoch (4), magic (1), CRC-32C of the
// rest (4), attributes (2), last offset delta (4), and further fields and records.
type batch []byte

// batchHeaderBytes is the size of a batch without records.
const batchHeaderBytes = 61

func (b batch) baseOffset() int64 { return int64(binary.BigEndian.Uint64(b)) }
func (b batch) crc() uint32       { return binary.BigEndian.Uint32(b[17:]) }
func (b batch) nextOffset() int64 {
	return b.baseOffset() + int64(binary.BigEndian.Uint32(b[23:])) + 1
}

// batches returns the whole batches in the record bytes of a Fetch response.
func batches(b []byte) iter.Seq[batch] {
	return func(yield func(batch) bool) {
		for len(b) >= batchHeaderBytes {
			end := 12 + int(binary.BigEndian.Uint32(b[8:]))
			if len(b) < end || !yield(batch(b[:end])) {
				return
			}
			b = b[end:]
		}
	}
}

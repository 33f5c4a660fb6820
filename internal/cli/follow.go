package cli

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// offsets are places in several topics: by topic and partition.
type offsets map[string]map[int32]int64

func (o offsets) set(topic string, partition int32, offset int64) {
	if o[topic] == nil {
		o[topic] = map[int32]int64{}
	}
	o[topic][partition] = offset
}

func (o offsets) of(topic string, partition int32) (int64, bool) {
	offset, ok := o[topic][partition]
	return offset, ok
}

func offsetsOf(listed kadm.ListedOffsets) offsets {
	o := offsets{}
	listed.Each(func(l kadm.ListedOffset) { o.set(l.Topic, l.Partition, l.Offset) })
	return o
}

// follow reads partitions, each from an offset on, and hands every record to each until that returns false. With until
// it ends once each partition has been read to before the offset there; a partition that has no more to give up to it is
// not read at all. It blocks, and returns ctx's cause when ctx ends. Records are each's to keep.
func follow(ctx context.Context, t target, from, until offsets, each func(*kgo.Record) bool) error {
	start := map[string]map[int32]kgo.Offset{}
	left := 0
	for topic, partitions := range from {
		for p, offset := range partitions {
			if end, bounded := until.of(topic, p); until != nil && (!bounded || offset >= end) {
				continue
			}
			if start[topic] == nil {
				start[topic] = map[int32]kgo.Offset{}
			}
			start[topic][p] = kgo.NewOffset().At(offset)
			left++
		}
	}
	if left == 0 {
		return nil
	}
	// Control records are kept, since one may be the last before the end that is waited for.
	client, err := t.client(ctx, kgo.ConsumePartitions(start), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer client.Close()
	done := offsets{}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			end, bounded := until.of(r.Topic, r.Partition)
			if bounded && r.Offset >= end {
				continue
			}
			if !r.Attrs.IsControl() && !each(r) {
				return nil
			}
			if _, already := done.of(r.Topic, r.Partition); bounded && r.Offset >= end-1 && !already {
				done.set(r.Topic, r.Partition, end)
				left--
			}
		}
		if until != nil && left == 0 {
			return nil
		}
	}
}

package logclient

import (
	"context"
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadAll returns an iterator over the records of a partition, in order, from its start to the end that it has when
// the iteration begins. Control records, and records of transactions that were not committed, are left out. If reading
// fails, the iterator yields the error with a nil record and ends. The caller may keep the records. Each iteration
// opens connections of its own and closes them.
func (c *Client) ReadAll(ctx context.Context, topic string, partition int32) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		err := c.readAll(ctx, topic, partition, func(r *kgo.Record) bool { return yield(r, nil) })
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", topic, err))
		}
	}
}

// readAll calls each with every record that ReadAll yields. When each returns false, readAll stops and returns nil.
func (c *Client) readAll(ctx context.Context, topic string, partition int32, each func(*kgo.Record) bool) error {
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return err
	}
	starts, err := c.Starts(ctx, topic)
	if err != nil {
		return err
	}
	from, until := Offsets{topic: {partition: starts[topic][partition]}}, Offsets{topic: {partition: ends[topic][partition]}}
	return c.read(ctx, from, until, each)
}

// Read returns an iterator over records of the partitions in from, each partition from its offset in from to the
// offset before the one in until, in order within a partition. A partition that until lacks, or whose offset in until
// is not above that in from, is not read. When all partitions have been read, the iterator ends. If until is nil, the
// iterator waits for further records without end. Control records, and records of transactions that were not
// committed, are left out. If reading fails or ctx is done, the iterator yields the error, or ctx's, with a nil record
// and ends. The caller may keep the records. Each iteration opens connections of its own and closes them.
func (c *Client) Read(ctx context.Context, from, until Offsets) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		if err := c.read(ctx, from, until, func(r *kgo.Record) bool { return yield(r, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read calls each with every record that Read yields for from and until. When each returns false, read stops and
// returns nil.
func (c *Client) read(ctx context.Context, from, until Offsets, each func(*kgo.Record) bool) error {
	starts, left := startsOf(from, until)
	if len(starts) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(c.Kgo(
		kgo.ConsumePartitions(starts),
		kgo.KeepControlRecords(), // so that the last offset is noticed even if it is a control record
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	bare := make(map[partition]int) // errors of isBare since a record came
	for until == nil || len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			if at := (partition{e.Topic, e.Partition}); isBare(e.Err) && bare[at] < maxBareErrors {
				bare[at]++
				continue
			}
			return fmt.Errorf("partition %d of %s: %w", e.Partition, e.Topic, e.Err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			delete(bare, partition{r.Topic, r.Partition})
			end := until[r.Topic][r.Partition]
			if until != nil && r.Offset >= end-1 {
				delete(left, partition{r.Topic, r.Partition})
			}
			if !r.Attrs.IsControl() && (until == nil || r.Offset < end) && !each(r) {
				return nil
			}
		}
	}
	return nil
}

// partition names a partition of the log.
type partition struct {
	topic  string
	number int32
}

// startsOf returns the offsets at which kgo begins to read, and the partitions that are to be read.
func startsOf(from, until Offsets) (starts map[string]map[int32]kgo.Offset, left map[partition]bool) {
	starts, left = map[string]map[int32]kgo.Offset{}, map[partition]bool{}
	for topic, partitions := range from {
		for p, offset := range partitions {
			if until != nil && offset >= until[topic][p] {
				continue
			}
			if starts[topic] == nil {
				starts[topic] = map[int32]kgo.Offset{}
			}
			starts[topic][p] = kgo.NewOffset().At(offset)
			left[partition{topic, p}] = true
		}
	}
	return starts, left
}

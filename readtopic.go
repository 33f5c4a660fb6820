package tidings

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readTopic reads the only partition of a topic from its beginning to where it ends now, and gives each record to f.
func (a *App) readTopic(ctx context.Context, topic string, f func(*kgo.Record)) error {
	ends, err := a.topics.ends(ctx, topic)
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	starts, err := a.topics.starts(ctx, topic)
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	start, end := starts[topic][0], ends[topic][0]
	if end <= start {
		return nil
	}
	cl, err := kgo.NewClient(a.clientOptions(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(start)}}),
		kgo.KeepControlRecords(), // so that the last offset is seen whatever it is
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s: %w", topic, e.Err)
		}
		last := int64(-1)
		fetches.EachRecord(func(r *kgo.Record) {
			last = r.Offset
			if !r.Attrs.IsControl() && r.Offset < end {
				f(r)
			}
		})
		if last >= end-1 {
			return nil
		}
	}
}

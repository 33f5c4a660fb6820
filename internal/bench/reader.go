package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readAlong has a consumer group of one member, of its own, read a topic from its start in the background and count the
// records, until ctx ends or a read fails, for which it ends ctx by stop.
func (e Endpoint) readAlong(ctx context.Context, stop context.CancelCauseFunc, background *sync.WaitGroup, topic string, got *atomic.Int64) error {
	client, err := e.client(ctx, kgo.ConsumerGroup(groupName()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	background.Go(func() {
		defer client.Close()
		for {
			fetches := client.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			for _, f := range fetches.Errors() {
				stop(fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err))
				return
			}
			got.Add(int64(fetches.NumRecords()))
		}
	})
	return nil
}

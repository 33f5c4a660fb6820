package bench

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// startGroupReader starts a goroutine that reads a topic from its beginning, as the only member of a new consumer
// group, and adds the number of records to received. The goroutine ends when ctx is done, or when a read fails; it
// then calls stop with the error. It is added to background, on which the caller must wait.
func (e Endpoint) startGroupReader(ctx context.Context, stop context.CancelCauseFunc, background *sync.WaitGroup, topic string, received *atomic.Int64) error {
	client, err := e.Client(ctx, groupOptions(topic, kgo.NewOffset().AtStart())...)
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
			if err := fetchError(fetches); err != nil {
				stop(err)
				return
			}
			received.Add(int64(fetches.NumRecords()))
		}
	})
	return nil
}

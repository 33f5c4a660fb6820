package tidings

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxBufferedRecords bounds what waits to be sent; who emits more waits.
const maxBufferedRecords = 16384

// send hands a record to the producer; done is called once it is durable or has failed, from a goroutine that must not
// be blocked. It blocks while too much is buffered, and fails only when ctx is done by then.
//
// kgo gets no context that can end: it fails a whole batch when the context of one of its records ends, and the batch may
// hold what others have emitted. Nor does it get to block by its own limit, which knows no context otherwise.
func (a *App) send(ctx context.Context, r *kgo.Record, done func(error)) error {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	a.producer.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
		<-a.slots
		if errors.Is(err, kgo.ErrClientClosed) {
			err = ErrClosed
		}
		done(err)
	})
	return nil
}

// produce sends records and waits until all are durable, or one has failed, or ctx is done. In the last case they may
// still become durable.
func (a *App) produce(ctx context.Context, records ...*kgo.Record) error {
	answers := make(chan error, len(records))
	for _, r := range records {
		if err := a.send(ctx, r, func(err error) { answers <- err }); err != nil {
			return err
		}
	}
	for range records {
		select {
		case err := <-answers:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// offer sends a record that nobody waits for, if there is room for it.
func (a *App) offer(r *kgo.Record) {
	select {
	case a.slots <- struct{}{}:
		a.producer.Produce(context.Background(), r, func(*kgo.Record, error) { <-a.slots })
	default:
	}
}

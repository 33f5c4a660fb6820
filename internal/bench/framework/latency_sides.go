package framework

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// React measures an app that emits with Emit, and has a reaction to what it emits. p may be nil.
func (l Latency) React(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	app, err := open(groupName(), e, l.Log)
	if err != nil {
		return m, err
	}
	fact, handled := placed[order](l.Topic), &events{}
	tidings.React(app, fact, func(_ context.Context, e tidings.Event[order]) error {
		handled.record(e.Data.Due)
		return nil
	}, tidings.FromBeginning())
	err = runApp(ctx, app, func(ctx context.Context) error {
		m, err = l.run(app.Context(ctx), e, p, handled, func(ctx context.Context, o order) error {
			_, err := fact.Emit(ctx, o)
			return err
		})
		return err
	})
	return m, err
}

// Bare measures a kgo client that sends the same JSON with ProduceSync, and consumes and decodes it as the member of a
// group, with kgo's own commits every five seconds. p may be nil.
func (l Latency) Bare(ctx context.Context, e bench.Endpoint, p *bench.Progress) (bench.Measured, error) {
	client, err := e.Client(ctx, bareOptions(l.Topic)...)
	if err != nil {
		return bench.Measured{}, err
	}
	defer client.Close()
	ctx, fail := context.WithCancelCause(ctx)
	handled := &events{}
	var consuming sync.WaitGroup
	consuming.Go(func() {
		if err := consume(ctx, client, func(o order) { handled.record(o.Due) }); err != nil {
			fail(err)
		}
	})
	defer consuming.Wait()
	defer fail(nil)
	return l.run(ctx, e, p, handled, func(ctx context.Context, o order) error {
		value, err := json.Marshal(o)
		if err != nil {
			return err
		}
		return client.ProduceSync(ctx, &kgo.Record{Topic: l.Topic, Key: []byte("order/" + o.ID), Value: value}).FirstErr()
	})
}

// consume calls handle with what a client polls and it has decoded, until ctx is done.
func consume(ctx context.Context, client *kgo.Client, handle func(order)) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			var o order
			if err := json.Unmarshal(iter.Next().Value, &o); err != nil {
				return err
			}
			handle(o)
		}
	}
}

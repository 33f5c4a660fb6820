package cli

import (
	"context"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

const (
	soilBytes    = 64 << 10 // that each partition gets before a checkpoint
	noCheckpoint = 1 << 40  // bytes of journal between checkpoints: none begins by itself
	quietTime    = time.Second
)

// duringCheckpoints measures acknowledgements while the broker checkpoints all partitions, each of which has something
// new, against the same load at other times. Both runs do the same, but for what goes on within the measured time.
func (b *benchmark) duringCheckpoints() ([]bench.Contender, []bench.Compared, error) {
	b.childConfig.CheckpointBytes = noCheckpoint
	if err := b.stage.restart(); err != nil {
		return nil, nil, err
	}
	took := quietTime // by the last checkpoint
	checkpoint := func(ctx context.Context) error {
		began := time.Now()
		err := broker.CheckpointOf(ctx, b.stage.data)
		took = max(time.Since(began), quietTime)
		return err
	}
	wait := func(ctx context.Context) error { return sleep(ctx, took) }
	contenders := []bench.Contender{
		b.spanning(theBroker, checkpoint, func(context.Context) error { return nil }),
		b.spanning(quiet, wait, checkpoint),
	}
	p999 := func(r bench.Round) float64 {
		return bench.Divide(r[theBroker].Quantile(0.999), r[quiet].Quantile(0.999))
	}
	p50 := func(r bench.Round) float64 { return bench.Divide(r[theBroker].Quantile(0.5), r[quiet].Quantile(0.5)) }
	return contenders, []bench.Compared{{Name: ratioCheckpoint, Of: p999}, {Name: "p50 / " + quiet, Of: p50}}, nil
}

// spanning measures what happens during something, as often as there are checkpoints, with all partitions soiled before;
// after is outside the measured time.
func (b *benchmark) spanning(name string, during, after func(context.Context) error) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		e := b.stage.broker()
		err = b.withTopic(ctx, e, b.partitions, b.configs, func(topic string) error {
			spans, err := bench.ProduceSpans(ctx, e, topic, b.load, b.progress, func(ctx context.Context, measure bench.Measure) error {
				for range b.checkpoints {
					if err := bench.Soil(ctx, e, topic, b.partitions, soilBytes); err != nil {
						return err
					}
					if err := sleep(ctx, soiledRest); err != nil {
						return err
					}
					if err := measure(during); err != nil {
						return err
					}
					if err := after(ctx); err != nil {
						return err
					}
				}
				return nil
			})
			m = bench.Sum(spans)
			return err
		})
		return m, err
	}}
}

// soiledRest is how long the load has been alone again before it is measured.
const soiledRest = 200 * time.Millisecond

// sleep blocks for d or until ctx ends; the error is then why it did.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package framework

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// Emitting measures callers of Emit that wait for the acknowledgement of each event. All fields are required, but
// Warmup.
type Emitting struct {
	Topic    string
	Size     int // of an event's JSON in bytes, at least MinBytes
	Subjects int // that the events are about
	Emitters int
	Warmup   time.Duration
	Duration time.Duration // measured time
	Log      *slog.Logger  // of the app
}

// Check returns an error that matches ErrLoad if the settings are not valid.
func (b Emitting) Check() error {
	switch {
	case b.Emitters < 1:
		return fmt.Errorf("%w: %d emitters", ErrLoad, b.Emitters)
	case b.Duration <= 0:
		return fmt.Errorf("%w: a duration of %v", ErrLoad, b.Duration)
	}
	return nil
}

// Emit measures an app. Records counts the events that were acknowledged within the measured time, and Latency is that
// of the calls that began in it. p may be nil.
func (b Emitting) Emit(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	app, err := open("bench-emitter", e, b.Log)
	if err != nil {
		return m, err
	}
	defer app.Close()
	ctx, fail := context.WithCancelCause(app.Context(ctx))
	defer fail(nil)
	orders := ordersOf(b.Subjects, b.Size)
	acked := &events{}
	p.Counts(acked.n.Load)
	from := now() + int64(b.Warmup)
	to := from + int64(b.Duration)
	acked.measure(from, to)
	fact := placed[order](b.Topic)
	var emitting sync.WaitGroup
	for i := range b.Emitters {
		emitting.Go(func() {
			if err := b.emitUntil(ctx, to, i, fact, orders, acked); err != nil {
				fail(err)
			}
		})
	}
	if err := sleepUntil(ctx, from); err == nil {
		before, t := acked.n.Load(), bench.StartMeter(e)
		_ = sleepUntil(ctx, to) // the cause of ctx is checked below
		m.Records = acked.n.Load() - before
		t.Stop(&m)
	}
	emitting.Wait()
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	m.Bytes = m.Records * int64(b.Size)
	m.Latency = acked.histogram()
	return m, nil
}

// emitUntil emits one event after the other until the end, as the emitter of an index.
func (b Emitting) emitUntil(ctx context.Context, end int64, i int, fact *tidings.Fact[order], orders []order, acked *events) error {
	for n := i; ; n += b.Emitters {
		begun := now()
		if begun >= end {
			return nil
		}
		if _, err := fact.Emit(ctx, orders[n%b.Subjects]); err != nil {
			return err
		}
		acked.record(begun)
	}
}

// Bare measures as many callers of ProduceSync of one kgo client, which send records of the same size that are made in
// advance. p may be nil.
func (b Emitting) Bare(ctx context.Context, e bench.Endpoint, p *bench.Progress) (bench.Measured, error) {
	return bench.Produce{Topic: b.Topic, Load: bench.Load{
		RecordBytes: b.Size, Keys: b.Subjects, Producers: 1, Emitters: b.Emitters, Duration: b.Duration, Warmup: b.Warmup,
	}}.Run(ctx, e, p)
}

package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tidings.dev/internal/bench"
)

// Latency measures the time from emitting an event at a fixed rate until it is handled by a reaction of the same
// service. Topic must be empty. All fields are required, but Warmup.
type Latency struct {
	Topic    string
	Size     int     // of an event's JSON in bytes, at least MinBytes
	Subjects int     // that the events are about
	Rate     float64 // events per second
	Emitters int     // callers of Emit, which wait for the acknowledgement of each event
	Warmup   time.Duration
	Duration time.Duration // measured time
	Log      *slog.Logger  // of the app
}

// ErrLoad is the error of a load that cannot be measured.
var ErrLoad = errors.New("impossible load")

// Check returns an error that matches ErrLoad if the settings are not valid.
func (l Latency) Check() error {
	switch {
	case l.Rate <= 0:
		return fmt.Errorf("%w: without a rate, latency is that of a queue without bounds", ErrLoad)
	case l.Emitters < 1:
		return fmt.Errorf("%w: %d emitters", ErrLoad, l.Emitters)
	case l.Duration <= 0:
		return fmt.Errorf("%w: a duration of %v", ErrLoad, l.Duration)
	}
	return nil
}

// send emits an event and returns when it is durable.
type send func(context.Context, order) error

// run emits one event and waits until it is handled, so that all is ready. It then emits at the rate, and waits until
// all that it has emitted is handled. handled is told of each event that is handled. Latency is counted from the
// moment at which an event was meant to be emitted to its handling, and Ack to its acknowledgement.
func (l Latency) run(ctx context.Context, e bench.Endpoint, p *bench.Progress, handled *events, send send) (bench.Measured, error) {
	var m bench.Measured
	p.Counts(handled.n.Load)
	if err := send(ctx, orderOf(0, l.Size, 0)); err != nil {
		return m, err
	}
	if err := handled.await(ctx, 1); err != nil {
		return m, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	begin := now()
	from := begin + int64(l.Warmup)
	to := from + int64(l.Duration)
	handled.measure(from, to)
	acks := &events{}
	acks.measure(from, to)
	dues := make(chan due, maxWaiting)
	var emitting sync.WaitGroup
	emitting.Go(func() {
		defer close(dues)
		if err := l.pace(ctx, begin, to, dues); err != nil {
			fail(err)
		}
	})
	for range l.Emitters {
		emitting.Go(func() {
			for d := range dues {
				if err := send(ctx, orderOf(d.n%l.Subjects, l.Size, d.at)); err != nil {
					fail(err)
					return
				}
				acks.record(d.at)
			}
		})
	}
	if err := sleepUntil(ctx, from); err == nil {
		t := bench.StartMeter(e)
		_ = sleepUntil(ctx, to) // the cause of ctx is checked below
		t.Stop(&m)
	}
	emitting.Wait()
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	if err := handled.await(ctx, 1+acks.n.Load()); err != nil {
		return m, err
	}
	m.Ack, m.Latency = acks.histogram(), handled.histogram()
	m.Records = m.Latency.Count()
	m.Bytes = m.Records * int64(l.Size)
	return m, nil
}

// due is the event of a number, which is to be emitted at a time.
type due struct {
	n  int
	at int64 // in nanoseconds of now
}

// maxWaiting is the number of events that wait for an emitter, at most. pace blocks while there are more: those that are
// due meanwhile are emitted late, which counts as their latency.
const maxWaiting = 1 << 16

// pace sends to dues what is due in [begin, end), when it is due.
func (l Latency) pace(ctx context.Context, begin, end int64, dues chan<- due) error {
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer alarm.close()
	for n := 0; ; n++ {
		at := begin + int64(float64(n)*1e9/l.Rate)
		if at >= end {
			return nil
		}
		if wait := at - now(); wait > 0 {
			if err := alarm.sleep(time.Duration(wait)); err != nil {
				return err
			}
		}
		select {
		case dues <- due{n, at}:
		case <-ctx.Done():
			return nil
		}
	}
}

// sleepUntil blocks until the time at, or until ctx is done. In the latter case it returns the cause of ctx.
func sleepUntil(ctx context.Context, at int64) error {
	timer := time.NewTimer(time.Duration(at - now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

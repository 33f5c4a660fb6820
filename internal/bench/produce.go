package bench

import (
	"context"
	"fmt"
)

// Produce measures how many records per second are acknowledged, and with which latency. Both fields are required.
// The topic must exist.
type Produce struct {
	Topic string
	Load  Load
}

// Run produces for Warmup and Duration, and then waits for the records in flight. Records counts the acknowledgements
// within the measured time. Latency is the time from when a record should have been sent to its acknowledgement. It
// covers all records that should have been sent in the measured time, however late they were acknowledged; a record
// that was due but could not be sent before the end counts with the time that it had waited. An asynchronous load
// without a rate measures the latency of one record in 16. The first record that fails ends the run with its error. p
// may be nil.
func (b Produce) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	measured, err := b.RunIntervals(ctx, e, p, func(_ context.Context, measure Measure) error {
		return measure(func(ctx context.Context) error { return pause(ctx, b.Load.Duration) })
	})
	if err == nil && measured[0].Records == 0 {
		err = fmt.Errorf("no record was acknowledged in %v", b.Load.Duration)
	}
	if len(measured) == 0 {
		return Measured{}, err
	}
	return measured[0], err
}

// Measure measures one interval of a load. The interval lasts until during returns.
type Measure func(during func(context.Context) error) error

// RunIntervals runs the load while script runs. script calls its Measure argument for each interval to be measured,
// and may do anything between and during intervals. It is called after Warmup; Duration is not used. Its context is
// cancelled when the load has failed. RunIntervals returns one result for each call of Measure. p may be nil.
func (b Produce) RunIntervals(ctx context.Context, e Endpoint, p *Progress, script func(context.Context, Measure) error) ([]Measured, error) {
	if err := b.Load.Check(); err != nil {
		return nil, err
	}
	r, err := newProduceRun(ctx, e, b.Topic, b.Load, nil)
	if err != nil {
		return nil, err
	}
	defer r.close()
	p.Counts(r.acknowledged)
	r.start()
	var measured []Measured
	err = pause(r.ctx, b.Load.Warmup)
	if err == nil {
		err = script(r.ctx, func(during func(context.Context) error) error {
			var m Measured
			r.measured.open()
			before, t := r.acknowledged(), StartMeter(e)
			err := during(r.ctx)
			m.Records = r.acknowledged() - before
			t.Stop(&m)
			r.measured.close()
			m.Bytes = m.Records * r.recordBytes()
			measured = append(measured, m)
			return err
		})
	}
	if finishErr := r.finish(); finishErr != nil {
		return measured, finishErr // if this is not nil, it is also why script's context was cancelled
	}
	for i := range measured {
		measured[i].Latency = r.latency(i)
	}
	return measured, err
}

// Fill produces a number of records to a topic, asynchronously and as fast as possible, and returns when all are
// acknowledged. It uses the sizes, keys and kgo options of the load, but not its producers, emitters, rate and times.
// p may be nil.
func Fill(ctx context.Context, e Endpoint, topic string, l Load, records int64, p *Progress) error {
	l.Producers, l.Emitters, l.Rate = 1, 0, 0
	if err := l.Check(); err != nil {
		return err
	}
	r, err := newProduceRun(ctx, e, topic, l, nil)
	if err != nil {
		return err
	}
	defer r.close()
	p.Counts(r.acknowledged)
	r.limit = records
	r.start()
	r.wait(r.ctx)
	return r.finish()
}

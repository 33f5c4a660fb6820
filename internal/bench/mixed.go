package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// memorySampling is the interval at which a mixed run reads the resident memory of the broker.
const memorySampling = 100 * time.Millisecond

// Mixed measures a load on several topics at the same time, while consumers read the topics. All fields are required.
type Mixed struct {
	Topics    []string
	Load      Load // the load; its Rate is divided evenly over the topics, and each topic has its own Producers and Emitters
	Intervals int  // number of intervals that Duration is divided into
}

// Run starts a consumer group for each topic, and the load, and measures the intervals one after the other. The
// result is the sum of the intervals, with the intervals in Series. Latency is the latency of acknowledgements.
// PeakRSSBytes of an interval is the highest of the values that were read during it, ten per second, and not the peak
// since the process began. Run blocks for Warmup and Duration, and until no record is in flight. p may be nil.
func (b Mixed) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var background, loads sync.WaitGroup
	defer func() {
		cancel(nil)
		loads.Wait()
		background.Wait()
	}()
	r := &mixedRun{Mixed: b, endpoint: e, length: b.Load.Duration / time.Duration(b.Intervals), series: make([]Measured, b.Intervals), start: newBarrier(len(b.Topics))}
	r.Load.Rate /= float64(len(b.Topics))
	for _, topic := range b.Topics {
		if err := e.startGroupReader(ctx, cancel, &background, topic, &r.delivered); err != nil {
			return Measured{}, err
		}
	}
	p.Counts(r.delivered.Load)
	background.Go(func() { r.memory.sample(ctx, e) })
	outcomes := make([][]Measured, len(b.Topics))
	for i := range b.Topics {
		loads.Go(func() {
			var err error
			if outcomes[i], err = r.produce(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	loads.Wait()
	if err := context.Cause(ctx); err != nil {
		return Measured{}, err
	}
	return r.combine(outcomes), nil
}

// mixedRun is one run of a Mixed.
type mixedRun struct {
	Mixed
	endpoint  Endpoint
	length    time.Duration // length of an interval
	start     *barrier      // makes the loads of all topics begin each interval together
	delivered atomic.Int64
	memory    peakMemory
	series    []Measured // written by the load of topic 0 until all loads have ended
}

// produce runs the load of the topic with the given index and returns its measurement of each interval. The loads of
// all topics begin each interval together. Only the load of topic 0 also measures the usage of the broker.
func (r *mixedRun) produce(ctx context.Context, topic int) ([]Measured, error) {
	load := Produce{Topic: r.Topics[topic], Load: r.Load}
	return load.RunIntervals(ctx, r.endpoint, nil, func(ctx context.Context, measure Measure) error {
		for k := range r.series {
			if err := r.start.wait(ctx); err != nil {
				return err
			}
			err := measure(func(ctx context.Context) error {
				if topic > 0 {
					return pause(ctx, r.length)
				}
				return r.meter(ctx, &r.series[k])
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// meter waits for the length of an interval, and sets in m what was used and delivered in it.
func (r *mixedRun) meter(ctx context.Context, m *Measured) error {
	before, t := r.delivered.Load(), StartMeter(r.endpoint)
	r.memory.take()
	err := pause(ctx, r.length)
	t.Stop(m)
	m.Delivered = r.delivered.Load() - before
	if m.Server != nil {
		m.Server.PeakRSSBytes = max(r.memory.take(), m.Server.RSSBytes)
	}
	return err
}

// combine adds the records and latencies of all topics to r.series and returns the sum of the series.
func (r *mixedRun) combine(outcomes [][]Measured) Measured {
	for k := range r.series {
		r.series[k].Latency = &Histogram{}
		for _, outcome := range outcomes {
			r.series[k].Records += outcome[k].Records
			r.series[k].Bytes += outcome[k].Bytes
			r.series[k].Latency.Merge(outcome[k].Latency)
		}
	}
	m := Sum(r.series)
	m.Series = r.series
	return m
}

// peakMemory is the highest resident memory of the broker, in bytes, since the last call of take.
type peakMemory struct{ bytes atomic.Int64 }

// sample reads the memory every memorySampling until ctx is done.
func (p *peakMemory) sample(ctx context.Context, e Endpoint) {
	for pause(ctx, memorySampling) == nil {
		if used := e.usage(); used != nil && used.RSSBytes > p.bytes.Load() {
			p.bytes.Store(used.RSSBytes)
		}
	}
}

// take returns the peak and resets it.
func (p *peakMemory) take() int64 { return p.bytes.Swap(0) }

// barrier is a reusable barrier: a fixed number of goroutines wait until all of them have reached it.
type barrier struct {
	mu      sync.Mutex // protects the fields below
	size    int
	arrived int
	next    chan struct{} // closed when all goroutines have arrived
}

func newBarrier(size int) *barrier { return &barrier{size: size, next: make(chan struct{})} }

// wait blocks until all goroutines have called wait, or until ctx is done. In the latter case it returns the cause of
// ctx.
func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	next := b.next
	if b.arrived++; b.arrived == b.size {
		close(next)
		b.arrived, b.next = 0, make(chan struct{})
	}
	b.mu.Unlock()
	select {
	case <-next:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

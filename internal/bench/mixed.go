package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// sampleEvery is how often a mixed run looks at the broker's memory.
const sampleEvery = 100 * time.Millisecond

// Mixed runs a load, in equal parts, against several topics at once, while a consumer group of each reads along, and
// measures it in so many intervals that follow each other; the outcome has them as its Series. Latency is that of
// acknowledgements. The server's PeakRSSBytes are the most that was seen in an interval, not in its life. It blocks for
// Warmup, Duration, and what is then under way.
func Mixed(ctx context.Context, e Endpoint, topics []string, l Load, intervals int, p *Progress) (Measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var background, loads sync.WaitGroup
	defer func() {
		cancel(nil)
		loads.Wait()
		background.Wait()
	}()
	var delivered atomic.Int64
	for _, topic := range topics {
		if err := e.readAlong(ctx, cancel, &background, topic, &delivered); err != nil {
			return Measured{}, err
		}
	}
	p.counts(delivered.Load)
	memory := &highest{}
	background.Go(func() { memory.watch(ctx, e) })

	// One script cuts time into intervals for all loads: each of the others measures the same spans in step with it.
	l.Rate /= float64(len(topics))
	length := l.Duration / time.Duration(intervals)
	series := make([]Measured, intervals)
	outcomes := make([][]Measured, len(topics))
	steps := newStep(len(topics))
	for i, topic := range topics {
		loads.Go(func() {
			var err error
			outcomes[i], err = ProduceSpans(ctx, e, topic, l, nil, func(ctx context.Context, measure Measure) error {
				for k := range intervals {
					if err := steps.wait(ctx); err != nil {
						return err
					}
					err := measure(func(ctx context.Context) error {
						if i > 0 {
							return pause(ctx, length)
						}
						return interval(ctx, e, length, memory, &delivered, &series[k])
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	loads.Wait()
	if err := context.Cause(ctx); err != nil {
		return Measured{}, err
	}
	for k := range series {
		series[k].Latency = &Histogram{}
		for _, outcome := range outcomes {
			series[k].Records += outcome[k].Records
			series[k].Bytes += outcome[k].Bytes
			series[k].Latency.Merge(outcome[k].Latency)
		}
	}
	m := Sum(series)
	m.Series = series
	return m, nil
}

// interval fills in what one interval used and what was delivered in it.
func interval(ctx context.Context, e Endpoint, d time.Duration, memory *highest, delivered *atomic.Int64, m *Measured) error {
	before, t := delivered.Load(), startMeter(e)
	memory.take()
	err := pause(ctx, d)
	t.stop(m)
	m.Delivered = delivered.Load() - before
	if m.Server != nil {
		m.Server.PeakRSSBytes = max(memory.take(), m.Server.RSSBytes)
	}
	return err
}

// highest is the most memory that was seen since it was last asked.
type highest struct{ bytes atomic.Int64 }

func (h *highest) watch(ctx context.Context, e Endpoint) {
	for pause(ctx, sampleEvery) == nil {
		if used := e.usage(); used != nil && used.RSSBytes > h.bytes.Load() {
			h.bytes.Store(used.RSSBytes)
		}
	}
}

func (h *highest) take() int64 { return h.bytes.Swap(0) }

// step lets a number of goroutines begin each step together.
type step struct {
	mu      sync.Mutex
	all     int
	arrived int
	next    chan struct{}
}

func newStep(all int) *step { return &step{all: all, next: make(chan struct{})} }

// wait blocks until all have come here, or ctx ends.
func (s *step) wait(ctx context.Context) error {
	s.mu.Lock()
	next := s.next
	if s.arrived++; s.arrived == s.all {
		close(next)
		s.arrived, s.next = 0, make(chan struct{})
	}
	s.mu.Unlock()
	select {
	case <-next:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

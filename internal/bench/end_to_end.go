package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// EndToEnd measures the time from sending a record to its delivery to consumers, at a fixed rate. All fields are
// required, and Load.Rate.
type EndToEnd struct {
	Topic  string
	Load   Load
	Groups int // number of consumer groups, each of one member
}

// Check returns an error that matches ErrLoad if the benchmark cannot be run with these settings.
func (b EndToEnd) Check() error {
	switch err := b.Load.Check(); {
	case err != nil:
		return err
	case b.Load.Rate == 0:
		return fmt.Errorf("%w: end to end needs a rate, or latency is that of a queue without bounds", ErrLoad)
	case b.Load.RecordBytes < stampBytes:
		return fmt.Errorf("%w: end to end needs records of at least %d bytes", ErrLoad, stampBytes)
	case b.Groups < 1:
		return fmt.Errorf("%w: %d groups", ErrLoad, b.Groups)
	}
	return nil
}

// Run starts the consumer groups and the load, and waits until each group has received a record. It then runs for
// Warmup and Duration, and until all records are delivered. Latency is the time from when a record should have been
// sent to when a consumer received it, over all groups. Ack is the time to the acknowledgement. Producers and
// consumers are in this process, so all times are from one clock. Records and Bytes count deliveries. It is an error
// if a record is acknowledged but not delivered within 30 s. p may be nil.
func (b EndToEnd) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	if err := b.Check(); err != nil {
		return Measured{}, err
	}
	r, err := newProduceRun(ctx, e, b.Topic, b.Load, &stamp{run: rand.Uint64()})
	if err != nil {
		return Measured{}, err
	}
	defer r.close()
	c, err := b.startConsumers(ctx, e, r)
	defer c.stop()
	if err != nil {
		return Measured{}, err
	}
	p.Counts(c.delivered)
	r.start()
	if err := c.awaitFirst(r.ctx); err != nil {
		return Measured{}, err
	}

	var m Measured
	r.sleep(b.Load.Warmup)
	r.measured.open()
	before, t := c.delivered(), StartMeter(e)
	r.sleep(b.Load.Duration)
	m.Records = c.delivered() - before
	t.Stop(&m)
	r.measured.close()
	m.Bytes = m.Records * r.recordBytes()
	if err := r.finish(); err != nil {
		return m, err
	}
	if err := c.awaitAll(ctx, r.timed()); err != nil {
		return m, err
	}
	c.stop()
	m.Ack, m.Latency = r.latency(0), &Histogram{}
	for _, one := range c.all {
		m.Latency.Merge(&one.latency)
		m.Latency.Merge(r.overdue(0))
	}
	return m, nil
}

// consumers are the consumer groups of an end-to-end run.
type consumers struct {
	all     []*consumer
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startConsumers starts the groups, each at the end of the topic. The caller must call stop, also after an error.
func (b EndToEnd) startConsumers(ctx context.Context, e Endpoint, r *produceRun) (*consumers, error) {
	c := &consumers{}
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	for range b.Groups {
		client, err := e.Client(ctx, groupOptions(b.Topic, kgo.NewOffset().AtEnd())...)
		if err != nil {
			return c, err
		}
		one := &consumer{run: r, client: client, first: make(chan struct{})}
		c.all = append(c.all, one)
		c.running.Go(func() { one.read(reading) })
	}
	return c, nil
}

// stop stops the consumers and waits for their goroutines. After that their histograms may be read. It may be called
// more than once.
func (c *consumers) stop() {
	c.cancel()
	c.running.Wait()
}

// delivered returns the number of records of the run that all consumers together have received.
func (c *consumers) delivered() (n int64) {
	for _, one := range c.all {
		n += one.records.Load()
	}
	return n
}

// awaitFirst blocks until each consumer has received a record. It fails after drainTimeout.
func (c *consumers) awaitFirst(ctx context.Context) error {
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	for _, one := range c.all {
		select {
		case <-one.first:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("a consumer has received nothing in %v", drainTimeout)
		}
	}
	return nil
}

// errUndelivered is returned if acknowledged records were not delivered within drainTimeout.
var errUndelivered = errors.New("records were acknowledged and not delivered")

// awaitAll blocks until each consumer has received want records of the measured time.
func (c *consumers) awaitAll(ctx context.Context, want int64) error {
	deadline := time.Now().Add(drainTimeout)
	for _, one := range c.all {
		for one.measured.Load() < want {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%w: %d of %d were received in %v", errUndelivered, one.measured.Load(), want, drainTimeout)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// consumer is the only member of a consumer group.
type consumer struct {
	run      *produceRun
	client   *kgo.Client
	first    chan struct{} // closed after the first record of the run
	records  atomic.Int64  // number of records of the run
	measured atomic.Int64  // number of them that were sent in the measured time
	latency  Histogram     // latency of the latter; written by read only
}

// read receives records until ctx is done. If a read fails, it cancels the run with the error.
func (c *consumer) read(ctx context.Context) {
	defer c.client.Close()
	for {
		fetches := c.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		if err := fetchError(fetches); err != nil {
			c.run.cancel(err)
			return
		}
		now := monotonicNow() // the time of receipt of all these records
		fetches.EachRecord(func(r *kgo.Record) {
			intended, ok := c.run.stamp.read(r.Value)
			if !ok {
				return
			}
			if c.records.Add(1) == 1 {
				close(c.first)
			}
			if c.run.measured.find(intended) >= 0 {
				c.latency.Record(time.Duration(now - intended))
				c.measured.Add(1)
			}
		})
	}
}

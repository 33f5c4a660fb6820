package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Idle measures the resources that a broker uses while its consumers wait in long polls and no records arrive. Topic,
// Partitions and Duration are required.
type Idle struct {
	Topic      string // must have exactly one record in each partition
	Partitions int
	Groups     int           // number of consumer groups, each of one member
	Warmup     time.Duration // time after all groups have read their records, so that the cost of joining is not measured
	Duration   time.Duration // measured time
}

// Run starts the groups, waits until each has read the record of every partition, waits for Warmup, and measures for
// Duration. The result has no records and no latency. Run fails if a group has not read its records within 30 s. p
// may be nil.
func (i Idle) Run(ctx context.Context, e Endpoint, p *Progress) (Measured, error) {
	reading, stop := context.WithCancelCause(ctx)
	var readers sync.WaitGroup
	defer func() {
		stop(nil)
		readers.Wait()
	}()
	var received atomic.Int64
	p.Counts(received.Load)
	for range i.Groups {
		if err := e.startGroupReader(reading, stop, &readers, i.Topic, &received); err != nil {
			return Measured{}, err
		}
	}
	want := int64(i.Partitions) * int64(i.Groups)
	for deadline := time.Now().Add(drainTimeout); received.Load() < want; {
		if time.Now().After(deadline) {
			return Measured{}, fmt.Errorf("consumers received %d of %d records in %v", received.Load(), want, drainTimeout)
		}
		if err := pause(reading, 10*time.Millisecond); err != nil {
			return Measured{}, err
		}
	}
	p.Counts(nil)
	if err := pause(reading, i.Warmup); err != nil {
		return Measured{}, err
	}
	var m Measured
	t := StartMeter(e)
	err := pause(reading, i.Duration)
	t.Stop(&m)
	return m, err
}

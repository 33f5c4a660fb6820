package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// untimed is the intended time of a record whose latency is not measured. Where records are sent so fast that reading
// the clock twice for each would be too slow, one record in timedShare is timed.
const (
	untimed    = -1
	timedShare = 16
)

// producer is one client of a run, with its measurements. It is used by one goroutine that runs sendAsync, or by
// several that run emit.
type producer struct {
	*produceRun
	client *kgo.Client
	acked  atomic.Int64

	mu        sync.Mutex // protects the fields below
	latencies histograms
	timed     int64      // number of records in latencies
	late      histograms // waiting times of records that were due in an interval but were not sent
	err       error      // error of the first record that failed

	pending sync.Pool // of *pendingRecord
}

// pendingRecord is a record of sendAsync that waits for its acknowledgement. It is then reused, so that the load
// makes no garbage.
type pendingRecord struct {
	record   kgo.Record
	intended int64  // when the record should have been sent, or untimed
	stamped  []byte // buffer for a stamped value; nil if values are not stamped
	done     func(*kgo.Record, error)
}

func (p *producer) newPending() *pendingRecord {
	if r, ok := p.pending.Get().(*pendingRecord); ok {
		return r
	}
	r := &pendingRecord{}
	if p.stamp != nil {
		r.stamped = make([]byte, p.load.RecordBytes)
	}
	r.done = func(_ *kgo.Record, err error) {
		p.onAck(r.intended, err)
		p.pending.Put(r)
	}
	return r
}

// onAck handles the acknowledgement or the failure of a record.
func (p *producer) onAck(intended int64, err error) {
	if err != nil {
		p.fail(err)
		return
	}
	p.acked.Add(1)
	if intended == untimed {
		return
	}
	in := p.measured.find(intended)
	if in < 0 {
		return
	}
	took := monotonicNow() - intended
	p.mu.Lock()
	p.latencies.of(in).Record(time.Duration(took))
	p.timed++
	p.mu.Unlock()
}

// recordOverdue records the waiting times of the records that were due but that pace has not given out. Senders call
// it when the run ends. Without it, a stall at the end of a run would lower the measured latency.
func (p *producer) recordOverdue(pace *pacer) {
	now := monotonicNow()
	p.mu.Lock()
	defer p.mu.Unlock()
	for due := range pace.overdue(now) {
		if in := p.measured.find(due); in >= 0 {
			p.late.of(in).Record(time.Duration(now - due))
		}
	}
}

// fail ends the run with the error of a record. If a record was cancelled because the run is over, fail does nothing.
func (p *producer) fail(err error) {
	if errors.Is(err, context.Canceled) && p.ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.cancel(err)
}

// failure returns the error of the first record that failed, or nil.
func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// sendAsync produces records asynchronously until the run is over or its limit is reached. It blocks while the buffer
// of the client is full. i is the index of the producer.
func (p *producer) sendAsync(i int) {
	if p.load.Rate > 0 {
		defer steadyThread()()
	}
	pace := newPacer(p.ctx, p.load.Rate, i, len(p.producers))
	defer p.recordOverdue(pace)
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	for n := 0; p.limit == 0 || int64(n) < p.limit; n++ {
		intended := int64(untimed)
		if p.load.Rate > 0 || p.stamp != nil || n%timedShare == 0 {
			var ok bool
			if intended, ok = pace.next(); !ok {
				return
			}
		}
		r := p.newPending()
		r.intended = intended
		r.record = kgo.Record{Key: p.payload.key(rng), Value: p.payload.value(n + i)}
		if p.stamp != nil {
			copy(r.stamped, r.record.Value)
			p.stamp.put(r.stamped, intended)
			r.record.Value = r.stamped
		}
		// Use a context that does not end with the run, because records that were sent must still be acknowledged.
		p.client.Produce(context.WithoutCancel(p.ctx), &r.record, r.done)
	}
}

// emit produces one record at a time and waits for its acknowledgement, until the run is over. i is the index of the
// emitter.
func (p *producer) emit(i int) {
	if p.load.Rate > 0 {
		defer steadyThread()()
	}
	pace := newPacer(p.ctx, p.load.Rate, i, p.load.Emitters)
	defer p.recordOverdue(pace)
	rng := rand.New(rand.NewPCG(uint64(i), 2))
	value := make([]byte, p.load.RecordBytes)
	for n := 0; ; n++ {
		intended, ok := pace.next()
		if !ok {
			return
		}
		record := &kgo.Record{Key: p.payload.key(rng), Value: p.payload.value(n + i)}
		if p.stamp != nil {
			copy(value, record.Value)
			p.stamp.put(value, intended)
			record.Value = value
		}
		err := p.client.ProduceSync(context.WithoutCancel(p.ctx), record).FirstErr()
		p.onAck(intended, err)
		if err != nil {
			return
		}
	}
}

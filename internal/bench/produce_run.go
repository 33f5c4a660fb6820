package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// drainTimeout is how long the records in flight at the end of a run may take to be acknowledged or delivered.
const drainTimeout = 30 * time.Second

// produceRun is one run of a load: its producers, and what they share. The methods are called in the order
// newProduceRun, start, finish, close. close may be called at any time after newProduceRun.
type produceRun struct {
	ctx       context.Context // done when the run is over or has failed
	cancel    context.CancelCauseFunc
	load      Load
	payload   *payload
	measured  *intervals
	stamp     *stamp // nil: values are not stamped
	limit     int64  // number of records that an asynchronous producer sends; 0: no limit
	producers []*producer
	sending   sync.WaitGroup // the goroutines that start has started
}

// newProduceRun connects the producers. If st is not nil, it is written into each value.
func newProduceRun(ctx context.Context, e Endpoint, topic string, l Load, st *stamp) (*produceRun, error) {
	opts, err := l.options()
	if err != nil {
		return nil, err
	}
	r := &produceRun{load: l, payload: newPayload(l), measured: &intervals{}, stamp: st}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	for range l.Producers {
		client, err := e.Client(ctx, append(opts, kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			r.close()
			return nil, err
		}
		r.producers = append(r.producers, &producer{produceRun: r, client: client})
	}
	return r, nil
}

// start starts the goroutines that send.
func (r *produceRun) start() {
	if r.load.Emitters == 0 {
		for i, p := range r.producers {
			r.sending.Go(func() { p.sendAsync(i) })
		}
		return
	}
	for i := range r.load.Emitters {
		p := r.producers[i%len(r.producers)]
		r.sending.Go(func() { p.emit(i) })
	}
}

// sleep blocks for d, or until the run has failed.
func (r *produceRun) sleep(d time.Duration) { _ = pause(r.ctx, d) }

// errOver is the cause of a context that was cancelled because its run is over, without a failure.
var errOver = errors.New("the run is over")

// wait blocks until all sending goroutines have ended, and returns true. If ctx is done before that, it returns
// false.
func (r *produceRun) wait(ctx context.Context) bool {
	done := make(chan struct{})
	go func() {
		r.sending.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// errUnacknowledged is returned if records were not acknowledged within drainTimeout.
var errUnacknowledged = errors.New("records were not acknowledged")

// finish stops the sending, waits for the records in flight, and returns the error that the run failed with, or nil.
func (r *produceRun) finish() error {
	r.cancel(errOver)
	if cause := context.Cause(r.ctx); cause != errOver {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), drainTimeout)
	defer cancel()
	if !r.wait(ctx) {
		return fmt.Errorf("%w in %v", errUnacknowledged, drainTimeout)
	}
	for _, p := range r.producers {
		if err := p.client.Flush(ctx); err != nil {
			return fmt.Errorf("%w in %v: %d records", errUnacknowledged, drainTimeout, p.client.BufferedProduceRecords())
		}
		if err := p.failure(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the run in any state. Closing a client fails the records that it holds, which unblocks goroutines that
// wait for them.
func (r *produceRun) close() {
	r.cancel(errOver)
	for _, p := range r.producers {
		p.client.Close()
	}
	r.sending.Wait()
}

// acknowledged returns the number of records acknowledged so far.
func (r *produceRun) acknowledged() (n int64) {
	for _, p := range r.producers {
		n += p.acked.Load()
	}
	return n
}

// recordBytes returns the total size of a record's key and value in bytes.
func (r *produceRun) recordBytes() int64 { return int64(r.load.RecordBytes + r.payload.keyBytes()) }

// timed returns the number of records in the measured intervals whose latency was measured. It must be called after
// finish.
func (r *produceRun) timed() (n int64) {
	for _, p := range r.producers {
		p.mu.Lock()
		n += p.timed
		p.mu.Unlock()
	}
	return n
}

// latency returns the latencies of all producers in an interval, including the waiting times of overdue records. It
// must be called after finish.
func (r *produceRun) latency(interval int) *Histogram {
	h := r.overdue(interval)
	for _, p := range r.producers {
		p.mu.Lock()
		h.Merge(p.latencies.of(interval))
		p.mu.Unlock()
	}
	return h
}

// overdue returns the waiting times of the records that were due in an interval but were not sent. It must be called
// after finish.
func (r *produceRun) overdue(interval int) *Histogram {
	h := &Histogram{}
	for _, p := range r.producers {
		p.mu.Lock()
		h.Merge(p.late.of(interval))
		p.mu.Unlock()
	}
	return h
}

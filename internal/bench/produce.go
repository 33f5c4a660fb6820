package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// settleTimeout is how long what is under way at the end of a run may take to be acknowledged or delivered.
const settleTimeout = 30 * time.Second

// Produce runs a load against a topic that is there. Throughput counts what was acknowledged within the measured time;
// latency, from the intended moment of sending to the acknowledgement, is of what was meant to be sent in it, however
// late it came; what was due and could not be sent any more counts with the time that it had waited. As fast as possible
// and asynchronously, every 16th record is timed. It blocks for Warmup, Duration and what is then under way. One record
// that fails ends the run with its error.
func Produce(ctx context.Context, e Endpoint, topic string, l Load, p *Progress) (Measured, error) {
	spans, err := ProduceSpans(ctx, e, topic, l, p, func(_ context.Context, measure Measure) error {
		return measure(func(ctx context.Context) error { return pause(ctx, l.Duration) })
	})
	if err == nil && spans[0].Records == 0 {
		err = fmt.Errorf("nothing was acknowledged in %v", l.Duration)
	}
	if len(spans) == 0 {
		return Measured{}, err
	}
	return spans[0], err
}

// Measure measures one span: what is done meanwhile decides how long it lasts.
type Measure func(during func(context.Context) error) error

// ProduceSpans is Produce for a load that goes on while a script measures as many spans of it as it likes, of whatever
// it does meanwhile. The script begins after Warmup; Duration is not used. Its context ends when the load has failed.
// What comes back is one outcome for each span.
func ProduceSpans(ctx context.Context, e Endpoint, topic string, l Load, p *Progress, script func(context.Context, Measure) error) ([]Measured, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	s, err := newSenders(ctx, e, topic, l, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	p.counts(s.acknowledged)
	s.start()
	var spans []Measured
	err = pause(s.ctx, l.Warmup)
	if err == nil {
		err = script(s.ctx, func(during func(context.Context) error) error {
			var m Measured
			s.window.open()
			before, t := s.acknowledged(), startMeter(e)
			err := during(s.ctx)
			m.Records = s.acknowledged() - before
			t.stop(&m)
			s.window.close()
			m.Bytes = m.Records * int64(l.RecordBytes+s.payload.keyBytes())
			spans = append(spans, m)
			return err
		})
	}
	if finishErr := s.finish(); finishErr != nil {
		return spans, finishErr // it is why the script's context has ended
	}
	for i := range spans {
		spans[i].Latency = s.latencyIn(i)
	}
	return spans, err
}

// Fill produces a number of records asynchronously, as fast as it goes, and returns when all are acknowledged. It uses
// the load's sizes, keys and batches; not its rate, emitters or times.
func Fill(ctx context.Context, e Endpoint, topic string, l Load, records int64, p *Progress) error {
	l.Producers, l.Emitters, l.Rate = 1, 0, 0
	if err := l.Check(); err != nil {
		return err
	}
	s, err := newSenders(ctx, e, topic, l, nil)
	if err != nil {
		return err
	}
	defer s.close()
	p.counts(s.acknowledged)
	s.limit = records
	s.start()
	s.wait(s.ctx)
	return s.finish()
}

// window is the measured time: one span, or several one after the other.
type window struct {
	mu    sync.Mutex
	spans []span
}

type span struct{ from, to int64 } // moments; to is beyond all of them while it is open

func (w *window) open() {
	w.mu.Lock()
	w.spans = append(w.spans, span{from: moment(), to: math.MaxInt64})
	w.mu.Unlock()
}

func (w *window) close() {
	w.mu.Lock()
	w.spans[len(w.spans)-1].to = moment()
	w.mu.Unlock()
}

// find returns the number of the span that a moment was in which is not in the future; -1: it was in none.
func (w *window) find(at int64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.spans) - 1; i >= 0 && at < w.spans[i].to; i-- {
		if at >= w.spans[i].from {
			return i
		}
	}
	return -1
}

// senders are the producers of a run.
type senders struct {
	ctx     context.Context // ends when the run is over or has failed
	cancel  context.CancelCauseFunc
	load    Load
	topic   string
	payload *payload
	window  *window
	stamp   *stamp // nil: values carry no moment
	limit   int64  // records in all, of one asynchronous producer; 0: until stopped
	lanes   []*lane
	running sync.WaitGroup // goroutines that send
}

func newSenders(ctx context.Context, e Endpoint, topic string, l Load, st *stamp) (*senders, error) {
	s := &senders{load: l, topic: topic, payload: newPayload(l), window: &window{}, stamp: st}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	opts, err := l.options()
	if err != nil {
		return nil, err
	}
	for range l.Producers {
		client, err := e.client(ctx, append(opts, kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			s.close()
			return nil, err
		}
		s.lanes = append(s.lanes, &lane{senders: s, client: client})
	}
	return s, nil
}

func (s *senders) start() {
	if s.load.Emitters == 0 {
		for i, ln := range s.lanes {
			s.running.Go(func() { ln.sendAll(i) })
		}
		return
	}
	for i := range s.load.Emitters {
		ln := s.lanes[i%len(s.lanes)]
		s.running.Go(func() { ln.emit(i) })
	}
}

// sleep blocks for d, or until the run has ended early.
func (s *senders) sleep(d time.Duration) { _ = pause(s.ctx, d) }

var errOver = errors.New("the run is over")

// wait blocks until nobody sends any more; false: ctx has ended before.
func (s *senders) wait(ctx context.Context) bool {
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish stops sending, waits for what is under way, and returns why the run failed, or nil.
func (s *senders) finish() error {
	s.cancel(errOver)
	if cause := context.Cause(s.ctx); cause != errOver {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), settleTimeout)
	defer cancel()
	if !s.wait(ctx) {
		return fmt.Errorf("%w in %v", errUnanswered, settleTimeout)
	}
	for _, ln := range s.lanes {
		if err := ln.client.Flush(ctx); err != nil {
			return fmt.Errorf("%w in %v: %d records", errUnanswered, settleTimeout, ln.client.BufferedProduceRecords())
		}
		if err := ln.failed(); err != nil {
			return err
		}
	}
	return nil
}

var errUnanswered = errors.New("records were not acknowledged")

// close ends a run in whatever state it is. Closing a client fails what it still holds, and so frees who waits for it.
func (s *senders) close() {
	s.cancel(errOver)
	for _, ln := range s.lanes {
		ln.client.Close()
	}
	s.running.Wait()
}

func (s *senders) acknowledged() (n int64) {
	for _, ln := range s.lanes {
		n += ln.acked.Load()
	}
	return n
}

// sent is how many records were timed; call it after finish.
func (s *senders) sent() (n int64) {
	for _, ln := range s.lanes {
		ln.mu.Lock()
		n += ln.timed
		ln.mu.Unlock()
	}
	return n
}

// latencyIn is that of all lanes in one span, what is overdue included; call it after finish.
func (s *senders) latencyIn(i int) *Histogram {
	h := s.overdueIn(i)
	for _, ln := range s.lanes {
		ln.mu.Lock()
		h.Merge(ln.hists.in(i))
		ln.mu.Unlock()
	}
	return h
}

// overdueIn is how long what was due in one span and not sent has waited; call it after finish.
func (s *senders) overdueIn(i int) *Histogram {
	h := &Histogram{}
	for _, ln := range s.lanes {
		ln.mu.Lock()
		h.Merge(ln.late.in(i))
		ln.mu.Unlock()
	}
	return h
}

func (p *payload) keyBytes() int {
	if len(p.keys) == 0 {
		return 0
	}
	return len(p.keys[0])
}

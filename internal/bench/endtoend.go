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

// EndToEnd runs a load with a rate while consumer groups, of one member each, read along. Latency is from the intended
// moment of sending to when a consumer has the record in its hands, of every group; Ack that to the acknowledgement.
// Both ends are in this process, so that one clock counts. Records and bytes are those delivered. It blocks until each
// consumer has seen a first record, then for Warmup and Duration, and until all is delivered; a record that does not
// come is an error.
func EndToEnd(ctx context.Context, e Endpoint, topic string, l Load, groups int, p *Progress) (Measured, error) {
	if err := l.CheckEndToEnd(groups); err != nil {
		return Measured{}, err
	}
	s, err := newSenders(ctx, e, topic, l, &stamp{run: rand.Uint64()})
	if err != nil {
		return Measured{}, err
	}
	defer s.close()
	listen, stopListening := context.WithCancel(context.WithoutCancel(ctx))
	var listening sync.WaitGroup
	defer func() {
		stopListening()
		listening.Wait()
	}()
	var listeners []*listener
	for range groups {
		ln := &listener{senders: s, heard: make(chan struct{})}
		if ln.client, err = e.client(ctx, kgo.ConsumerGroup(groupName()), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())); err != nil {
			return Measured{}, err
		}
		listeners = append(listeners, ln)
		listening.Go(func() { ln.listen(listen) })
	}
	delivered := func() (n int64) {
		for _, ln := range listeners {
			n += ln.records.Load()
		}
		return n
	}
	p.counts(delivered)
	s.start()
	if err := heardAll(s.ctx, listeners); err != nil {
		return Measured{}, err
	}

	var m Measured
	s.sleep(l.Warmup)
	s.window.open()
	before, t := delivered(), startMeter(e)
	s.sleep(l.Duration)
	m.Records = delivered() - before
	t.stop(&m)
	s.window.close()
	m.Bytes = m.Records * int64(l.RecordBytes+s.payload.keyBytes())
	if err := s.finish(); err != nil {
		return m, err
	}
	m.Ack, m.Latency = s.latencyIn(0), &Histogram{}
	for _, ln := range listeners {
		if err := ln.await(ctx, s.sent()); err != nil {
			return m, err
		}
	}
	stopListening()
	listening.Wait()
	for _, ln := range listeners {
		m.Latency.Merge(&ln.hist)
		m.Latency.Merge(s.overdueIn(0))
	}
	return m, nil
}

// CheckEndToEnd is Check for EndToEnd.
func (l Load) CheckEndToEnd(groups int) error {
	switch err := l.Check(); {
	case err != nil:
		return err
	case l.Rate == 0:
		return fmt.Errorf("%w: end to end needs a rate, or latency is that of a queue without bounds", ErrLoad)
	case l.RecordBytes < stampBytes:
		return fmt.Errorf("%w: end to end needs records of at least %d bytes", ErrLoad, stampBytes)
	case groups < 1:
		return fmt.Errorf("%w: %d groups", ErrLoad, groups)
	}
	return nil
}

func heardAll(ctx context.Context, listeners []*listener) error {
	timeout := time.NewTimer(settleTimeout)
	defer timeout.Stop()
	for _, ln := range listeners {
		select {
		case <-ln.heard:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("a consumer has got nothing in %v", settleTimeout)
		}
	}
	return nil
}

// listener is one group's consumer.
type listener struct {
	*senders
	client  *kgo.Client
	heard   chan struct{} // closed at the first record
	records atomic.Int64  // of the run
	inside  atomic.Int64  // of them in the window
	hist    Histogram     // of those; for the listening goroutine until it has ended
}

func (ln *listener) listen(ctx context.Context) {
	defer ln.client.Close()
	for {
		fetches := ln.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, f := range fetches.Errors() {
			ln.cancel(fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err))
			return
		}
		now := moment() // they are all in the application's hands now
		fetches.EachRecord(func(r *kgo.Record) {
			intended, ok := ln.stamp.read(r.Value)
			if !ok {
				return
			}
			if ln.records.Add(1) == 1 {
				close(ln.heard)
			}
			if ln.window.find(intended) >= 0 {
				ln.hist.Record(time.Duration(now - intended))
				ln.inside.Add(1)
			}
		})
	}
}

var errLost = errors.New("records were acknowledged and not delivered")

// await blocks until all records of the window have come.
func (ln *listener) await(ctx context.Context, want int64) error {
	for deadline := time.Now().Add(settleTimeout); ln.inside.Load() < want; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d of %d came in %v", errLost, ln.inside.Load(), want, settleTimeout)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

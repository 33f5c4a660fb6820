package tidings

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// staff sees that enough workers run for what is runnable. Called with c.mu held. A worker ends when nothing is left to
// do, so that an idle reaction has none.
func (c *consumer) staff() {
	for want := c.lanes.Runnable(); want > 0 && c.workers < c.concurrency; want-- {
		c.workers++
		go c.work()
	}
}

func (c *consumer) work() {
	c.mu.Lock()
	for {
		_, it, ok := c.lanes.Next()
		if !ok {
			break
		}
		if it.p.revoking {
			c.abandon(it)
			continue
		}
		it.p.active++
		c.mu.Unlock()
		c.handleItem(it)
		c.mu.Lock()
	}
	c.workers--
	c.mu.Unlock()
}

// handleItem runs the handler once. The item's lane stays closed until the emissions are durable, or the attempt has
// failed and is due again.
func (c *consumer) handleItem(it *item) {
	if !it.folded {
		if it.folded = c.foldInto(&it.e); !it.folded {
			c.release(it)
			return
		}
	}
	run := &handlerRun{reaction: c.reaction, cause: it.e.Meta}
	ctx := context.WithValue(it.p.ctx, runKey, run)
	started := time.Now()
	c.app.running.Add(1)
	err := callHandler(ctx, it.h, it.e)
	c.app.running.Add(-1)
	emissions := run.end()
	switch {
	case err != nil:
		c.failed(it, err)
	case len(emissions) == 0:
		c.finished(it, started, time.Now())
	default:
		c.send(it, emissions, started, time.Now())
	}
}

// send produces what a handler has emitted, and finishes the item when all of it is durable.
func (c *consumer) send(it *item, emissions []*outgoing, started, ended time.Time) {
	for _, e := range emissions {
		if _, err := c.app.topics.need(it.p.ctx, e.meta.Topic); err != nil {
			c.failed(it, err)
			return
		}
	}
	var left atomic.Int32
	var failure atomic.Pointer[error]
	left.Store(int32(len(emissions)))
	sent := func(err error) {
		if err != nil {
			failure.CompareAndSwap(nil, &err)
		}
		if left.Add(-1) > 0 {
			return
		}
		if err := failure.Load(); err != nil {
			c.failed(it, *err)
			return
		}
		c.counts.emitted.Add(int64(len(emissions)))
		c.finished(it, started, ended)
	}
	for _, e := range emissions {
		name := func(err error) error {
			if err == nil {
				return nil
			}
			return fmt.Errorf("%s not emitted: %w", e.meta.Type, err)
		}
		if err := c.app.send(it.p.ctx, e.record(), func(err error) { sent(name(err)) }); err != nil {
			sent(name(err))
		}
	}
}

// finished says that an event is handled and what it caused is durable.
func (c *consumer) finished(it *item, started, ended time.Time) {
	c.counts.handled.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &it.p.news
	n.times = append(n.times, obligation.Timing{Offset: it.e.Offset, Took: ended.Sub(started), Finished: ended})
	if it.failed > 0 {
		n.retried = append(n.retried, obligation.Retried{Offset: it.e.Offset, Attempts: it.failed + 1, Error: it.lastErr})
	}
	c.conclude(it, started, ended)
}

// conclude takes an item that needs nothing more out of its lane. Called with c.mu held.
func (c *consumer) conclude(it *item, started, ended time.Time) {
	p := it.p
	p.news.urgent = true
	p.news.span(started, ended)
	p.tracker.Finish(it.e.Offset)
	c.lanes.Done(it.key)
	c.inactive(p)
	if !p.revoking {
		c.balance(p)
	}
	c.staff()
	c.wakeCommitter(p)
	if c.lanes.Queued() <= resumeQueued {
		signal(c.room)
	}
}

// failed decides what a handler's error leads to: the event is skipped, or waits for its next attempt.
func (c *consumer) failed(it *item, err error) {
	reason, isSkip, delay := classify(err, it.h.backoff, it.failed+1)
	if isSkip {
		c.counts.skipped.Add(1)
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		it.p.news.skipped = append(it.p.news.skipped, obligation.Skipped{Offset: it.e.Offset, Reason: reason})
		c.conclude(it, now, now)
		return
	}
	it.failed++
	it.lastErr = err.Error()
	c.counts.retried.Add(1)
	c.logFailure(it, err, delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.p.revoking { // whoever gets the partition handles it
		c.abandon(it)
		c.inactive(it.p)
		return
	}
	c.lanes.Wait(it.key)
	c.inactive(it.p)
	c.retrying++
	c.report(it, delay)
	it.timer = time.AfterFunc(delay, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if it.timer == nil { // dropped
			return
		}
		it.timer = nil
		c.retrying--
		c.lanes.Resume(it.key)
		c.staff()
	})
}

// release gives an item back that cannot be worked on because the reaction ends.
func (c *consumer) release(it *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandon(it)
	c.inactive(it.p)
}

// abandon takes an item out of its lane without it being done. Called with c.mu held.
func (c *consumer) abandon(it *item) {
	c.lanes.Done(it.key)
	c.staff()
}

// inactive says that an item was given back. Called with c.mu held.
func (c *consumer) inactive(p *partition) {
	p.active--
	if p.active == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// logFailure logs the first attempts and then ever fewer.
func (c *consumer) logFailure(it *item, err error, delay time.Duration) {
	if n := it.failed; n&(n-1) != 0 {
		return
	}
	attrs := []any{"error", err, "attempt", it.failed, "next", delay.Round(time.Millisecond), "event", it.e.ID, "type", it.e.Type,
		"subject", it.e.Subject, "correlation", it.e.Correlation, "topic", it.e.Topic, "partition", it.e.Partition, "offset", it.e.Offset}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, "stack", string(p.stack))
	}
	c.log.Warn("an event was not handled and will be tried again", attrs...)
}

const (
	reportAfter   = time.Second // a shorter wait is not worth a record
	reportsPerSec = 20
)

// report writes down that an event waits to be tried again: for people only, so it is throttled, and nobody waits for
// it. Called with c.mu held.
func (c *consumer) report(it *item, delay time.Duration) {
	if delay < reportAfter {
		return
	}
	now := time.Now()
	if now.Sub(c.lastReport) > time.Second {
		c.lastReport, c.reports = now, 0
	}
	if c.reports++; c.reports > reportsPerSec {
		return
	}
	fact := &obligation.Retrying{
		Reaction: c.name, Topic: it.e.Topic, Partition: it.e.Partition, Offset: it.e.Offset,
		Attempt: it.failed, Error: it.lastErr, Next: now.Add(delay).UTC(), At: now.UTC(),
	}
	c.app.offer(&kgo.Record{Topic: fact.RecordTopic(), Key: []byte(fact.Key()), Value: obligation.Encode(fact)})
}

package tidings

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/delivery"
	"tidings.dev/internal/obligation"
)

// partition is one partition that the group has given to this instance. Its fields belong to consumer.mu.
//
// Reading begins before the committed position: [replay, start) is read again for the ids in it, which tell copies, and,
// with state, for the events in it, which are folded. Nothing before start is handled.
type partition struct {
	topicPartition
	ctx    context.Context // of its handlers: ends when the partition is gone and they have not finished in time
	cancel context.CancelFunc

	start     int64 // the committed position when it was assigned
	epoch     int64 // of the last seek
	tracker   *delivery.Tracker
	window    *delivery.Window
	replaying bool    // start has not been reached
	held      []*item // arrived while a partition of the same number is replaying, whose state they need

	active   int           // items of it that are given out: handlers that run and emissions not yet durable
	revoking bool          // nothing new is begun
	idle     chan struct{} // closed when active falls to 0 while revoking
	paused   bool
	full     bool // what is done ahead almost fills the commit metadata

	news news // what happened since the last round
}

// news is what the next marks will tell.
type news struct {
	urgent     bool // there is more in it than events of no concern
	recommit   bool // the last commit failed
	skipped    []obligation.Skipped
	retried    []obligation.Retried
	duplicates []int64
	times      []obligation.Timing
	started    time.Time
	finished   time.Time
}

// add takes over what is newer.
func (n *news) add(newer news) {
	n.urgent = n.urgent || newer.urgent
	n.recommit = n.recommit || newer.recommit
	n.skipped = append(n.skipped, newer.skipped...)
	n.retried = append(n.retried, newer.retried...)
	n.duplicates = append(n.duplicates, newer.duplicates...)
	n.times = append(n.times, newer.times...)
	n.span(newer.started, newer.finished)
}

// span widens the time that the news are of. Zero times say nothing.
func (n *news) span(started, finished time.Time) {
	if !started.IsZero() && (n.started.IsZero() || started.Before(n.started)) {
		n.started = started
	}
	if finished.After(n.finished) {
		n.finished = finished
	}
}

// item is an event on its way through a handler.
type item struct {
	p       *partition
	e       Any
	h       *handler
	key     laneKey
	folded  bool
	failed  int // attempts
	lastErr string
	timer   *time.Timer
}

// take takes in records of one partition, in order.
func (c *consumer) take(tp topicPartition, records []*kgo.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[tp]
	if p == nil || p.revoking || c.draining.Load() {
		return
	}
	for _, r := range records {
		if r.Offset < p.start {
			c.replay(p, r)
			if r.Offset == p.start-1 {
				c.replayed(p)
			}
			continue
		}
		c.replayed(p) // the last ones before start were compacted away
		c.arrive(p, r)
	}
	c.balance(p)
	c.staff()
	c.wakeCommitter(p)
}

// replay takes in a record that was handled before.
func (c *consumer) replay(p *partition, r *kgo.Record) {
	if r.Attrs.IsControl() || p.window.Seen(eventID(r)) || !c.stateful() {
		return
	}
	e := received(r)
	c.foldInto(&e)
}

// arrive takes in a record at or after the position.
func (c *consumer) arrive(p *partition, r *kgo.Record) {
	arrival := p.tracker.Arrive(r.Offset)
	switch {
	case arrival == delivery.ArrivedAgain:
		return
	case r.Attrs.IsControl():
		if arrival == delivery.ArrivedNew {
			p.tracker.Finish(r.Offset)
		}
		return
	}
	copied := p.window.Seen(eventID(r))
	if arrival == delivery.ArrivedDone {
		if !copied && c.stateful() {
			e := received(r)
			c.foldInto(&e)
		}
		return
	}
	e := received(r)
	h := c.handlerFor(&e)
	switch {
	case h == nil:
		p.tracker.Finish(r.Offset)
		c.counts.unhandled.Add(1)
	case copied:
		p.tracker.Finish(r.Offset)
		c.counts.duplicates.Add(1)
		p.news.duplicates = append(p.news.duplicates, r.Offset)
		p.news.urgent = true
	default:
		e.reaction = c.name
		it := &item{p: p, e: e, h: h, key: laneKey{subject: e.Subject}}
		if e.Subject == "" {
			it.key.place, it.key.offset = p.topicPartition, r.Offset
		}
		if c.gateClosed(p.partition) {
			p.held = append(p.held, it)
		} else {
			c.lanes.Add(it.key, it)
		}
	}
}

// replayed says that a partition has been read again up to its start. When all partitions of that number have been,
// what they held back may run.
func (c *consumer) replayed(p *partition) {
	if !p.replaying {
		return
	}
	p.replaying = false
	c.checkReady()
	if c.gateClosed(p.partition) {
		return
	}
	for tp, q := range c.parts {
		if tp.partition != p.partition {
			continue
		}
		for _, it := range q.held {
			c.lanes.Add(it.key, it)
		}
		q.held = nil
	}
	c.staff()
}

// gateClosed tells whether the state of a partition number is still being rebuilt.
func (c *consumer) gateClosed(partition int32) bool {
	if !c.stateful() {
		return false
	}
	for tp, p := range c.parts {
		if tp.partition == partition && p.replaying {
			return true
		}
	}
	return false
}

// foldInto folds an event into the states that want it. A fold that panics ends the reaction: its state would be wrong
// from then on.
func (c *consumer) foldInto(e *Any) (ok bool) {
	folders := c.folds[e.Type]
	if len(folders) == 0 || c.handlerFor(e) == nil {
		return true
	}
	defer func() {
		if p := recover(); p != nil {
			ok = false
			c.fail(fmt.Errorf("fold of event %s (%s at %s/%d offset %d): panic: %v", e.ID, e.Type, e.Topic, e.Partition, e.Offset, p))
		}
	}()
	for _, f := range folders {
		f.fold(*e)
	}
	return true
}

// balance stops or resumes the fetching of one partition, so that it alone waits when one of its subjects is slow.
func (c *consumer) balance(p *partition) {
	open := p.tracker.Open()
	switch {
	case !p.paused && (open > maxOpen || p.full):
		p.paused = true
		c.cl.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
		if p.full {
			c.log.Warn("so much is done ahead of a slow subject that no more is taken in until it is through",
				"topic", p.topic, "partition", p.partition, "position", p.tracker.Position())
		}
	case p.paused && open < resumeOpen && !p.full:
		p.paused = false
		c.cl.ResumeFetchPartitions(map[string][]int32{p.topic: {p.partition}})
	}
}

// checkReady says that the reaction is ready once it owns its partitions, and their states are rebuilt.
func (c *consumer) checkReady() {
	if c.stateful() {
		for _, p := range c.parts {
			if p.replaying {
				return
			}
		}
	}
	c.readyOnce.Do(func() { close(c.ready) })
}

// eventID reads only the id of an event.
func eventID(r *kgo.Record) string {
	for i := range r.Headers {
		if r.Headers[i].Key == obligation.HeaderID {
			return string(r.Headers[i].Value)
		}
	}
	return obligation.ForeignID(r.Topic, r.Partition, r.Offset)
}

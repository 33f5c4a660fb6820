package tidings

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/delivery"
	"tidings.dev/internal/obligation"
)

// place is where a partition is to be taken up.
type place struct {
	position  int64
	epoch     int64
	ahead     delivery.Offsets
	committed bool // the group has this position already
}

// onAssigned is called for each new assignment, before the offsets are fetched. Owning nothing is being ready, too:
// other instances have all partitions.
func (c *consumer) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-c.opened
	if len(added) > 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkReady()
}

// onOffsetsFetched keeps what the group has committed, metadata included, for onOffsets, which follows at once.
func (c *consumer) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	c.fetched = make(map[topicPartition]committedOffset)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				o := committedOffset{offset: p.Offset}
				if p.Metadata != nil {
					o.metadata = *p.Metadata
				}
				c.fetched[topicPartition{t.Topic, p.Partition}] = o
			}
		}
	}
	return nil
}

type committedOffset struct {
	offset   int64 // -1: none
	metadata string
}

// onOffsets decides where the partitions that were just assigned are read from. It is called before anything of them is
// fetched; an error makes the group session start anew.
func (c *consumer) onOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topics := make([]string, 0, len(offsets))
	for topic := range offsets {
		topics = append(topics, topic)
	}
	starts, err := c.app.topics.starts(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("where the log begins: %w", err)
	}
	ends, err := c.app.topics.ends(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("where the log ends: %w", err)
	}
	places, err := c.places(ctx, offsets)
	if err != nil {
		return nil, err
	}
	var commits []commit
	var parts []*partition
	for tp, at := range places {
		start, end := starts[tp.topic][tp.partition], ends[tp.topic][tp.partition]
		switch {
		case at.position < start:
			err = &LostError{c.name, tp.topic, tp.partition, at.position, start}
		case at.position > end:
			err = &BeyondError{c.name, tp.topic, tp.partition, at.position, end}
		}
		if err != nil {
			c.fail(err)
			return nil, err
		}
		p := c.newPartition(tp, at)
		from := max(start, at.position-int64(c.window))
		if c.stateful() {
			from = start
		}
		p.replaying = from < at.position
		offsets[tp.topic][tp.partition] = kgo.NewOffset().At(from).WithEpoch(-1)
		parts = append(parts, p)
		if !at.committed {
			commits = append(commits, p.commit())
		}
	}
	if len(commits) > 0 {
		if failed := c.commitOffsets(ctx, commits); len(failed) > 0 {
			return nil, fmt.Errorf("commit of the starting positions: %w", failed[0].err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range parts {
		if old := c.parts[p.topicPartition]; old != nil {
			c.drop(old)
		}
		c.parts[p.topicPartition] = p
	}
	c.checkReady()
	return offsets, nil
}

// places finds out where each partition is to be taken up:
//
//   - at the committed position, if we have committed it;
//   - at the committed position, in a new epoch, if somebody else has moved it;
//   - where the subscription says, if nothing is committed: the reaction is new, or crashed while it was;
//   - at 0, if the subscription does not know the partition: it is newer. A missing commit never means the end.
func (c *consumer) places(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[topicPartition]place, error) {
	places := make(map[topicPartition]place)
	var moved []topicPartition
	for topic, partitions := range offsets {
		for number := range partitions {
			tp := topicPartition{topic, number}
			have, ok := c.fetched[tp]
			if !ok || have.offset < 0 {
				start, known := c.subs[topic].Start[number]
				places[tp] = place{position: start}
				if known && !c.fresh[topic] {
					moved = append(moved, tp) // the group's positions have expired
				}
				continue
			}
			at := place{position: have.offset, committed: true}
			if m, err := delivery.DecodeMetadata(have.offset, have.metadata); err == nil {
				at.epoch, at.ahead = m.Epoch, m.Ahead
			} else {
				if delivery.OwnMetadata(have.metadata) {
					c.log.Warn("what was done ahead of the position is unknown and will be handled again",
						"topic", topic, "partition", number, "error", err)
				}
				at.committed = false // commit it again, with its epoch
				moved = append(moved, tp)
			}
			places[tp] = at
		}
	}
	if len(moved) == 0 {
		return places, nil
	}
	return places, c.obeySeeks(ctx, places, moved)
}

// obeySeeks finds the seeks by which positions were moved. A move that nobody wrote down is written down here: from then
// on, what lies behind the new position is open again.
func (c *consumer) obeySeeks(ctx context.Context, places map[topicPartition]place, moved []topicPartition) error {
	last := make(map[topicPartition]*obligation.Seek)
	marked := make(map[topicPartition]int64)
	err := c.app.readTopic(ctx, obligation.ReactionsTopic, func(r *kgo.Record) {
		switch f, _ := obligation.Decode(r.Value); f := f.(type) {
		case *obligation.Seek:
			if f.Reaction == c.name {
				last[topicPartition{f.Topic, f.Partition}] = f
			}
		case *obligation.Marks:
			if f.Reaction == c.name {
				marked[topicPartition{f.Topic, f.Partition}] = f.Position
			}
		}
	})
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for _, tp := range moved {
		at := places[tp]
		seek, from := last[tp], marked[tp]
		if seek != nil {
			at.epoch = seek.Epoch
		}
		switch {
		case seek != nil && seek.To == at.position:
		case seek == nil && from == 0 && !at.committed && c.fetched[tp].offset < 0:
			// Nothing was ever marked: a first start that a crash has cut short.
		default:
			at.epoch++
			fact := &obligation.Seek{
				Reaction: c.name, Topic: tp.topic, Partition: tp.partition,
				From: from, To: at.position, Epoch: at.epoch, Who: "unknown", At: time.Now().UTC(),
			}
			c.log.Warn("somebody has moved the position, or it has expired",
				"topic", tp.topic, "partition", tp.partition, "from", fact.From, "to", fact.To)
			records = append(records, &kgo.Record{Topic: fact.RecordTopic(), Key: []byte(fact.Key()), Value: obligation.Encode(fact)})
		}
		places[tp] = at
	}
	if len(records) == 0 {
		return nil
	}
	return c.app.produce(ctx, records...)
}

func (c *consumer) newPartition(tp topicPartition, at place) *partition {
	p := &partition{
		topicPartition: tp, start: at.position, epoch: at.epoch,
		tracker: delivery.NewTracker(at.position, at.ahead),
		window:  delivery.NewWindow(c.window),
	}
	p.ctx, p.cancel = context.WithCancel(c.base)
	return p
}

// onRevoked gives up partitions in order: what runs may finish, and its marks and positions are written.
func (c *consumer) onRevoked(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	going := c.owned(lost)
	patience := revokeTimeout
	if c.draining.Load() {
		patience = 0 // what could finish has
	}
	c.letGo(going, patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range going {
		c.drop(p)
	}
}

func (c *consumer) owned(of map[string][]int32) (parts []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, numbers := range of {
		for _, n := range numbers {
			if p := c.parts[topicPartition{topic, n}]; p != nil {
				parts = append(parts, p)
			}
		}
	}
	return parts
}

// letGo begins nothing new of these partitions, waits for what runs, and writes the last marks and positions.
func (c *consumer) letGo(going []*partition, patience time.Duration) {
	if len(going) == 0 {
		return
	}
	var busy []chan struct{}
	c.mu.Lock()
	for _, p := range going {
		p.revoking = true
		if p.active > 0 {
			if p.idle == nil {
				p.idle = make(chan struct{})
			}
			busy = append(busy, p.idle)
		}
	}
	c.dropQueued(func(it *item) bool { return it.p.revoking })
	c.mu.Unlock()
	c.awaitHandlers(going, busy, patience)
	c.round(c.app.life, going)
}

// awaitHandlers waits for running handlers, first patiently, then with their contexts cancelled.
func (c *consumer) awaitHandlers(going []*partition, busy []chan struct{}, patience time.Duration) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	cancelled := false
	for _, idle := range busy {
		select {
		case <-idle:
			continue
		case <-c.app.life.Done():
			return
		case <-timeout.C:
		}
		if cancelled {
			return
		}
		cancelled = true
		c.log.Warn("handlers did not finish in time: their contexts are cancelled, and their events will be handled again", "after", patience)
		for _, p := range going {
			p.cancel()
		}
		timeout.Reset(lastPatience)
		select {
		case <-idle:
		case <-c.app.life.Done():
			return
		case <-timeout.C:
			return
		}
	}
}

// lastPatience is how long handlers may take once their contexts are cancelled.
const lastPatience = 2 * time.Second

// onLost drops partitions that others own already: their positions are not ours to commit any more.
func (c *consumer) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	going := c.owned(lost)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range going {
		c.drop(p)
	}
}

func (c *consumer) dropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		c.drop(p)
	}
}

// drop forgets a partition. Handlers of it that still run are cancelled; what they return counts for nothing. Called
// with c.mu held.
func (c *consumer) drop(p *partition) {
	p.revoking = true
	p.cancel()
	c.dropQueued(func(it *item) bool { return it.p == p })
	if c.parts[p.topicPartition] == p {
		delete(c.parts, p.topicPartition)
	}
	if !c.draining.Load() {
		c.checkReady() // it may have been the last whose state was being rebuilt
	}
	for tp := range c.parts {
		if tp.partition == p.partition {
			return // its states still belong to a partition of another topic
		}
	}
	for _, f := range c.folders {
		f.drop(p.partition)
	}
}

// dropQueued takes items out that do not run. Called with c.mu held.
func (c *consumer) dropQueued(goes func(*item) bool) {
	c.lanes.Drop(func(it *item) bool {
		if !goes(it) {
			return false
		}
		if it.timer != nil {
			it.timer.Stop()
			it.timer = nil
			c.retrying--
		}
		return true
	})
	signal(c.room)
}

// onOutOfRange says why a reaction that runs cannot read on: retention has overtaken it, or the log was cut.
func (c *consumer) onOutOfRange(ctx context.Context, tp topicPartition) {
	starts, err := c.app.topics.starts(ctx, tp.topic)
	if err != nil {
		c.log.Warn("cannot read", "topic", tp.topic, "partition", tp.partition, "error", err)
		return
	}
	ends, err := c.app.topics.ends(ctx, tp.topic)
	if err != nil {
		c.log.Warn("cannot read", "topic", tp.topic, "partition", tp.partition, "error", err)
		return
	}
	c.mu.Lock()
	p := c.parts[tp]
	var position, next int64
	if p != nil {
		position, next = p.tracker.Position(), p.tracker.Next()
	}
	c.mu.Unlock()
	switch start, end := starts[tp.topic][tp.partition], ends[tp.topic][tp.partition]; {
	case p == nil:
	case position < start:
		c.fail(&LostError{c.name, tp.topic, tp.partition, position, start})
	default:
		c.fail(&BeyondError{c.name, tp.topic, tp.partition, next, end})
	}
}

package tidings

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/delivery"
	"tidings.dev/internal/obligation"
)

// A commit round writes down what was finished since the last one: first the marks, one record for each partition, and
// when they are durable the positions, in one request. Emissions do not wait for rounds: they are durable before their
// event counts as finished. So a round follows at once when there was none lately, and under load gathers what
// finishes within commitEvery.
const (
	commitEvery      = 10 * time.Millisecond
	commitRetryAfter = 200 * time.Millisecond
)

// commit is the position of one partition with its metadata.
type commit struct {
	p        *partition
	position int64
	metadata string
}

// commit takes the position as it is now. Called with consumer.mu held, or before anybody else knows the partition.
func (p *partition) commit() commit {
	m := delivery.Metadata{Epoch: p.epoch, Ahead: *p.tracker.Ahead()}
	return commit{p, p.tracker.Position(), delivery.EncodeMetadata(p.tracker.Position(), &m)}
}

// wakeCommitter sees that what is new in a partition gets written down: soon, or, if it is only events of no concern,
// some time. Called with c.mu held.
func (c *consumer) wakeCommitter(p *partition) {
	switch {
	case p.news.urgent:
		signal(c.dirty)
	case p.tracker.Dirty() && c.lazyTimer == nil:
		c.lazyTimer = time.AfterFunc(unhandledCommit, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.lazyTimer = nil
			for _, p := range c.parts {
				p.news.urgent = p.news.urgent || p.tracker.Dirty()
			}
			signal(c.dirty)
		})
	}
}

// commitLoop does rounds until stop is closed. ctx ends a round that takes too long then: ending one in the middle is
// the last resort, since a commit that is on its way could overtake the next.
func (c *consumer) commitLoop(ctx context.Context, stop <-chan struct{}) {
	var last time.Time
	for {
		select {
		case <-c.dirty:
		case <-stop:
			return
		}
		if wait := commitEvery - time.Since(last); wait > 0 {
			select {
			case <-time.After(wait):
			case <-stop:
				return
			}
		}
		last = time.Now()
		if failed := c.round(ctx, nil); failed {
			time.AfterFunc(commitRetryAfter, func() { signal(c.dirty) })
		}
	}
}

// round writes marks and positions of the given partitions, or, with nil, of those that have urgent news. It tells
// whether a commit failed that is to be tried again.
func (c *consumer) round(ctx context.Context, of []*partition) (failed bool) {
	c.roundMu.Lock()
	defer c.roundMu.Unlock()
	if of != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lastRoundTimeout)
		defer cancel()
	}
	told := c.gather(of)
	if len(told) == 0 {
		return false
	}
	if err := c.tell(ctx, told); err != nil {
		// Without marks no commit: a position that moves without a record of why would say of events that they were
		// handled which nobody vouches for.
		c.takeBack(told)
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			c.fail(fmt.Errorf("write marks: %w", err))
		}
		return false
	}
	commits := make([]commit, len(told))
	for i, t := range told {
		commits[i] = t.commit
	}
	failures := c.commitOffsets(ctx, commits)
	for of != nil && rebalancing(failures) { // the last chance: wait for the rebalance to end
		select {
		case <-time.After(lastRoundRetry):
			failures = c.commitOffsets(ctx, commits)
			continue
		case <-ctx.Done():
		}
		break
	}
	for _, f := range failures {
		if c.recommit(f, of != nil) {
			failed = true
		}
	}
	return failed
}

// rebalancing tells whether commits failed only because the group is between two generations.
func rebalancing(failures []failedCommit) bool {
	for _, f := range failures {
		if !errors.Is(f.err, kerr.RebalanceInProgress) && !errors.Is(f.err, kerr.IllegalGeneration) {
			return false
		}
	}
	return len(failures) > 0
}

// lastRoundTimeout bounds the round in which partitions are given up.
const (
	lastRoundTimeout = 2 * time.Second
	lastRoundRetry   = 20 * time.Millisecond
)

// telling is what a round says of one partition.
type telling struct {
	commit
	done []obligation.Range
	news news
}

// gather takes the news of partitions.
func (c *consumer) gather(of []*partition) (told []telling) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of == nil {
		for _, p := range c.parts {
			if (p.news.urgent || p.news.recommit) && !p.revoking {
				of = append(of, p)
			}
		}
	}
	for _, p := range of {
		if !p.tracker.Dirty() && !p.news.recommit {
			continue
		}
		t := telling{commit: p.commit(), done: p.tracker.Take(), news: p.news}
		p.news = news{}
		told = append(told, t)
		full := len(t.metadata) >= delivery.FullMetadataBytes || p.full && len(t.metadata) > delivery.FullMetadataBytes/2
		if full != p.full && !p.revoking {
			p.full = full
			c.balance(p)
		}
	}
	return told
}

// takeBack returns what could not be told, for the next round.
func (c *consumer) takeBack(told []telling) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range told {
		t.p.tracker.Untake(t.done)
		t.news.add(t.p.news)
		t.p.news = t.news
	}
}

// tell appends the marks and waits until they are durable.
func (c *consumer) tell(ctx context.Context, told []telling) error {
	var records []*kgo.Record
	for _, t := range told {
		if len(t.done) == 0 {
			continue // only a commit to be repeated
		}
		fact := &obligation.Marks{
			Reaction: c.name, Topic: t.p.topic, Partition: t.p.partition, Epoch: t.p.epoch, Position: t.position,
			Done: t.done, Skipped: t.news.skipped, Retried: t.news.retried, Duplicates: t.news.duplicates, Times: t.news.times,
			Started: t.news.started.UTC(), Finished: t.news.finished.UTC(),
		}
		records = append(records, &kgo.Record{Topic: fact.RecordTopic(), Key: []byte(fact.Key()), Value: obligation.Encode(fact)})
	}
	return c.app.produce(ctx, records...)
}

type failedCommit struct {
	commit
	err error
}

// commitOffsets commits positions as the member that this instance is now, and gives those that failed.
func (c *consumer) commitOffsets(ctx context.Context, commits []commit) []failedCommit {
	answers, err := c.requestCommit(ctx, commits)
	var failed []failedCommit
	for _, co := range commits {
		e := err
		if e == nil {
			code, ok := answers[co.p.topicPartition]
			if e = kerr.ErrorForCode(code); !ok {
				e = errNoAnswer
			}
		}
		if e != nil {
			failed = append(failed, failedCommit{co, e})
		}
	}
	return failed
}

var errNoAnswer = errors.New("the log gave no answer for this partition")

// requestCommit gives the error code of each partition. From version 10 on topics go by their ids.
func (c *consumer) requestCommit(ctx context.Context, commits []commit) (map[topicPartition]int16, error) {
	member, generation := c.cl.GroupMetadata()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = c.name
	req.MemberID = member
	req.Generation = generation
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	names := make(map[[16]byte]string)
	index := make(map[string]int)
	for _, co := range commits {
		topic := co.p.topic
		if _, ok := index[topic]; !ok {
			found, err := c.app.topics.need(ctx, topic)
			if err != nil {
				return nil, err
			}
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = topic, found.id
			names[found.id] = topic
			index[topic] = len(req.Topics)
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = co.p.partition
		p.Offset = co.position
		p.Metadata = &co.metadata
		t := &req.Topics[index[topic]]
		t.Partitions = append(t.Partitions, p)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, err
	}
	answers := make(map[topicPartition]int16)
	for _, t := range resp.Topics {
		topic := t.Topic
		if topic == "" {
			topic = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			answers[topicPartition{topic, p.Partition}] = p.ErrorCode
		}
	}
	return answers, nil
}

// recommit sees that a commit which failed is repeated while the partition is ours: soon, or with the last round of one
// that is being given up, unless this was it. One that was fenced is not an error: the next owner goes on from the older
// position, and its copies are dropped downstream.
func (c *consumer) recommit(f failedCommit, last bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last || c.parts[f.p.topicPartition] != f.p {
		c.log.Debug("a last commit failed", "topic", f.p.topic, "partition", f.p.partition, "error", f.err)
		return false
	}
	f.p.news.recommit = true
	if !rebalancing([]failedCommit{f}) && !errors.Is(f.err, kerr.UnknownMemberID) {
		c.log.Warn("a position was not committed; trying again", "topic", f.p.topic, "partition", f.p.partition, "error", f.err)
	}
	return true
}

// leaveStatic takes a static member out of its group.
func (c *consumer) leaveStatic(ctx context.Context) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = c.name
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID = &c.instance
	req.Members = append(req.Members, m)
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

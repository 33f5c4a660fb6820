package reactor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/offsets"
)

// Lost is the error of a reaction whose next events were deleted: retention deleted the offsets in Ranges, which are pairs
// [from, to), of a partition before they were handled. From is the first of them, and To is after the last. What lies
// between the ranges was handled.
type Lost struct {
	Reaction  string
	Topic     string
	Partition int32
	From, To  int64
	Ranges    [][2]int64
}

func (e *Lost) Error() string {
	const most = 3 // ranges that are named
	var named []string
	for _, r := range e.Ranges[:min(most, len(e.Ranges))] {
		text := strconv.FormatInt(r[0], 10)
		if last := r[1] - 1; last > r[0] {
			text += fmt.Sprintf("–%d", last)
		}
		named = append(named, text)
	}
	text := strings.Join(named, ", ")
	if more := len(e.Ranges) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more ranges up to %d", more, e.To-1)
	}
	return fmt.Sprintf("lost: retention deleted offsets %s of %s/%d before reaction %q handled them; to go on, move its position with `tidings group seek %s --topic %s`",
		text, e.Topic, e.Partition, e.Reaction, e.Reaction, e.Topic)
}

// newLost returns the error of what retention has deleted of a partition in [from, start), where from is not done; ahead has
// what is done above it.
func (r *Reactor) newLost(tp topicPartition, from, start int64, ahead *offsets.Set) *Lost {
	lost := &Lost{Reaction: r.spec.Name, Topic: tp.topic, Partition: tp.partition, From: from, To: start}
	for lo, hi := range ahead.Gaps(from, start) {
		lost.Ranges, lost.To = append(lost.Ranges, [2]int64{lo, hi}), hi
	}
	return lost
}

// Beyond is the error of a reaction that is past the end of a partition, where the log's leader epochs do not say what it has
// lost: the topic was deleted and made again, or its end was cut, on brokers that know no epochs or topic ids. Position is the
// committed position when the partition was assigned. End is the offset after the last record.
type Beyond struct {
	Reaction      string
	Topic         string
	Partition     int32
	Position, End int64
}

func (e *Beyond) Error() string {
	return fmt.Sprintf("reaction %q stands at offset %d of %s/%d, but the log ends at %d: was the topic made anew? To go on, move its position with `tidings group seek %s --topic %s`",
		e.Reaction, e.Position, e.Topic, e.Partition, e.End, e.Reaction, e.Topic)
}

// bounds has the first offset that the log keeps of each partition, and the high watermark.
type bounds struct{ starts, ends logclient.Offsets }

// of returns the bounds of a partition: it has the offsets [start, end).
func (b bounds) of(tp topicPartition) (start, end int64) {
	return b.starts[tp.topic][tp.partition], b.ends[tp.topic][tp.partition]
}

// boundsOf asks the log for the bounds of all partitions of topics.
func (r *Reactor) boundsOf(ctx context.Context, topics ...string) (b bounds, err error) {
	if b.starts, err = r.client.Starts(ctx, topics...); err != nil {
		return b, fmt.Errorf("where the log begins: %w", err)
	}
	if b.ends, err = r.client.Ends(ctx, topics...); err != nil {
		return b, fmt.Errorf("where the log ends: %w", err)
	}
	return b, nil
}

// durabilityConfig is the config of a topic that says whether its records are kept in memory alone, on brokers of Tidings.
const durabilityConfig, inMemory = "tidings.durability", "memory"

// keptInMemory reports whether the records of a topic are kept in memory alone: each start of its broker takes all of them, and the offsets go on
// further up. Brokers that do not know the config keep no records in memory alone.
func (r *Reactor) keptInMemory(ctx context.Context, topic string) (bool, error) {
	configs, err := kadm.NewClient(r.client.Client()).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return false, fmt.Errorf("how the records of %s are kept: %w", topic, err)
	}
	for _, c := range configs {
		for _, config := range c.Configs {
			if c.Err == nil && config.Key == durabilityConfig {
				return config.MaybeValue() == inMemory, nil
			}
		}
	}
	return false, nil
}

// skipToStart returns a point that goes on at the start of the log of a partition whose records are kept in memory. What was before went with
// a stop of the broker, whether there was something or not; nothing is wrong with the reaction.
func (r *Reactor) skipToStart(tp topicPartition, at resumePoint, start int64) resumePoint {
	r.spec.Log.Warn("the records of the topic are kept in memory, and the broker has started anew: the reaction goes on with what came since",
		"topic", tp.topic, "partition", tp.partition, "position", at.position, "goes_on_at", start)
	at.ahead.CutFrom(at.position)
	at.position, at.committed, at.failing = start, false, nil
	return at
}

// checkPosition returns a *Lost if position is below start, a *Beyond if it is above end, and otherwise nil.
// ahead has what is done above position.
func (r *Reactor) checkPosition(tp topicPartition, position int64, ahead *offsets.Set, start, end int64) error {
	switch {
	case position < start:
		return r.newLost(tp, position, start, ahead)
	case position > end:
		return &Beyond{r.spec.Name, tp.topic, tp.partition, position, end}
	}
	return nil
}

// onOutOfRange is called when the log does not have the next offset that the reaction would read of a partition. It
// makes the reaction fail with a *Lost, or begins a new session if the topic was made again or has lost its end.
func (r *Reactor) onOutOfRange(ctx context.Context, tp topicPartition) {
	if r.restartIfRemade(ctx, tp.topic) {
		return
	}
	b, err := r.boundsOf(ctx, tp.topic)
	if err != nil {
		r.warnCannotRead(ctx, tp, err)
		return
	}
	r.mu.Lock()
	p := r.scheduler.partitions[tp]
	var position, next int64
	var ahead offsets.Set
	if p != nil {
		position, next, ahead = p.tracker.position, p.tracker.next, p.tracker.ahead.Clone()
	}
	r.mu.Unlock()
	switch start, end := b.of(tp); {
	case p == nil: // lost meanwhile
	case position < start:
		switch memory, err := r.keptInMemory(ctx, tp.topic); {
		case err != nil: // it is asked again when the next fetch fails
			r.warnCannotRead(ctx, tp, err)
		case memory:
			r.restart(&changed{tp.topic}) // the next session goes on at the start
		default:
			r.fail(r.newLost(tp, position, start, &ahead))
		}
	default:
		r.restartLost(tp, next, end)
	}
}

// warnCannotRead logs that a partition cannot be read, unless the session has ended.
func (r *Reactor) warnCannotRead(ctx context.Context, tp topicPartition, err error) {
	if ctx.Err() == nil {
		r.spec.Log.Warn("cannot read", "topic", tp.topic, "partition", tp.partition, "error", err)
	}
}

// restartLost is called when the log of a partition has lost what this instance has read up to an offset, and ends before. It ends
// the session. The next one goes on where the log ends, if the log's leader epochs say where that was, and otherwise fails with a
// *Beyond if the committed position is above the end.
func (r *Reactor) restartLost(tp topicPartition, read, end int64) {
	r.spec.Log.Warn("the log has lost its end, with events that this instance has read; the reaction joins again",
		"topic", tp.topic, "partition", tp.partition, "read_to", read, "ends_at", end)
	r.restart(&changed{tp.topic})
}

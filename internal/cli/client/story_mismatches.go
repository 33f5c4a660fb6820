package client

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// addMismatches sets Mismatch in those obligations of a story for which a mismatch is recorded. A mismatch is
// recorded for one schema version, which the index does not have, so the events in question are read from the log.
// Events that are no longer in the log get no mismatch.
func (c connection) addMismatches(ctx context.Context, s *story.Story) error {
	recorded, err := c.readMismatches(ctx)
	if err != nil || len(recorded) == 0 {
		return err
	}
	events := make(placedEvents)
	for e := range s.All {
		if slices.ContainsFunc(e.Obligations, func(o story.Obligation) bool {
			return decodes(o) && recorded[reader{o.Reaction, e.Type, e.Source}] != nil
		}) {
			events.add(e)
		}
	}
	if len(events) == 0 {
		return nil
	}
	starts, ends, err := c.boundsOfExisting(ctx, events.topics()...)
	if err != nil {
		return err
	}
	for _, pass := range events.passes(starts, ends) {
		for r, err := range c.log.Read(ctx, pass.from, pass.until) {
			if err != nil {
				return fmt.Errorf("read the events of the story: %w", err)
			}
			e := events[topicPartition{r.Topic, r.Partition}][r.Offset]
			if e == nil {
				continue
			}
			// If the topic was created again, another event may be at this offset.
			if read := cloudevent.FromRecord(r); cloudevent.BoundName(read.ID) == e.ID && read.Type == e.Type {
				addMismatchesTo(e, recorded, read.SchemaVersion)
			}
		}
	}
	return nil
}

// decodes reports whether the reaction of an obligation has decoded the event, or will.
func decodes(o story.Obligation) bool {
	switch o.State {
	case story.Handled, story.Waiting, story.Running, story.Retrying, story.SkippedEvent:
		return true
	}
	return false
}

// addMismatchesTo sets Mismatch in the obligations of an event of the given schema version.
func addMismatchesTo(e *story.Event, recorded map[reader][]*obligation.Mismatch, version int) {
	for i := range e.Obligations {
		o := &e.Obligations[i]
		if !decodes(*o) {
			continue
		}
		for _, m := range recorded[reader{o.Reaction, e.Type, e.Source}] {
			if m.Version == version {
				found := mismatchOf(m)
				o.Mismatch = &found
			}
		}
	}
}

// placedEvents has events by partition and offset.
type placedEvents map[topicPartition]map[int64]*story.Event

func (p placedEvents) add(e *story.Event) {
	tp := topicPartition{e.Topic, e.Partition}
	if p[tp] == nil {
		p[tp] = make(map[int64]*story.Event)
	}
	p[tp][e.Offset] = e
}

// topics returns the topics of the events. A topic is listed once per partition.
func (p placedEvents) topics() (names []string) {
	for tp := range p {
		names = append(names, tp.Topic)
	}
	return names
}

// pass is the ranges of offsets that are read together: at most one range [from, until) of each partition.
type pass struct{ from, until logclient.Offsets }

// maxBetween is the maximum number of offsets between two events that are read in the same pass. If there are more,
// the second event is read in another pass.
const maxBetween = 1000

// passes returns the passes that read all events whose offsets are within the bounds of their partitions.
func (p placedEvents) passes(starts, ends logclient.Offsets) (passes []pass) {
	for tp, events := range p {
		n := -1 // index of the pass of the last event
		var last int64
		for _, o := range slices.Sorted(maps.Keys(events)) {
			if o < starts[tp.Topic][tp.Partition] || o >= ends[tp.Topic][tp.Partition] {
				continue
			}
			if n < 0 || o-last > maxBetween {
				if n++; n == len(passes) {
					passes = append(passes, pass{make(logclient.Offsets), make(logclient.Offsets)})
				}
				setOffset(passes[n].from, tp, o)
			}
			setOffset(passes[n].until, tp, o+1)
			last = o
		}
	}
	return passes
}

func setOffset(offsets logclient.Offsets, tp topicPartition, o int64) {
	if offsets[tp.Topic] == nil {
		offsets[tp.Topic] = make(map[int32]int64)
	}
	offsets[tp.Topic][tp.Partition] = o
}

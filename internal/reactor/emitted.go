package reactor

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// emitted is which events have made their handlers emit something, and how far that reaches in the log. The zero value is none.
type emitted struct {
	of      offsets.Set                   // offsets of the events
	through map[obligation.Position]int64 // by partition, as a Position without an offset: the offset after the last record
}

// add adds what the handler of the event at an offset has emitted.
func (e *emitted) add(offset int64, through []obligation.Position) {
	if len(through) == 0 {
		return
	}
	e.of.Add(offset, offset+1)
	for _, p := range through {
		e.reach(p)
	}
}

// reach extends through to a position.
func (e *emitted) reach(p obligation.Position) {
	end := p.Offset
	p.Offset = 0
	if e.through == nil {
		e.through = make(map[obligation.Position]int64)
	}
	e.through[p] = max(e.through[p], end)
}

// merge adds what other has.
func (e *emitted) merge(other *emitted) {
	for _, r := range other.of.Ranges() {
		e.of.Add(r.Lo, r.Hi)
	}
	for p, end := range other.through {
		p.Offset = end
		e.reach(p)
	}
}

// ranges returns the offsets of the events as they stand in marks: never nil.
func (e *emitted) ranges() []offsets.Range {
	return append([]offsets.Range{}, e.of.Ranges()...)
}

// positions returns through as it stands in marks.
func (e *emitted) positions() []obligation.Position {
	var positions []obligation.Position
	for p, end := range e.through {
		p.Offset = end
		positions = append(positions, p)
	}
	return slices.SortedFunc(slices.Values(positions), func(a, b obligation.Position) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), slices.Compare(a.TopicID[:], b.TopicID[:]))
	})
}

// throughOf returns the ends of records that are durable. Those of topics that carry no events are left out.
func (r *Reactor) throughOf(records ...*kgo.Record) []obligation.Position {
	switch {
	case len(records) == 0:
		return nil
	case len(records) == 1 && !obligation.Internal(records[0].Topic):
		return []obligation.Position{r.endOf(records[0])}
	}
	var reach emitted
	for _, record := range records {
		if obligation.Internal(record.Topic) {
			continue
		}
		reach.reach(r.endOf(record))
	}
	return reach.positions()
}

// endOf returns the position after a durable record.
func (r *Reactor) endOf(record *kgo.Record) obligation.Position {
	known, _ := r.client.Known(record.Topic) // without its id the position says too little, and is not relied on
	return obligation.Position{Topic: record.Topic, TopicID: obligation.TopicID(known.ID), Partition: record.Partition, Offset: record.Offset + 1}
}

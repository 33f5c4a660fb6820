package reactor

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// emitted is which events have made their handlers emit something, and where in the log that is. The zero value is none.
type emitted struct {
	of      offsets.Set                 // offsets of the events
	through map[emittedTo]offsets.Range // from the first record to the last
}

// emittedTo is a partition in one leader epoch: its broker may have started again in between, and left offsets out.
type emittedTo struct {
	topic     string
	id        obligation.TopicID // without it the marks say too little, and are not relied on
	partition int32
	epoch     int32
}

// reached is where in the log something is that a handler has emitted.
type reached struct {
	emittedTo
	offsets.Range
}

// add adds what the handler of the event at an offset has emitted.
func (e *emitted) add(offset int64, through []reached) {
	if len(through) == 0 {
		return
	}
	e.of.Add(offset, offset+1)
	for _, r := range through {
		e.reach(r.emittedTo, r.Range)
	}
}

// reach extends through to records.
func (e *emitted) reach(to emittedTo, r offsets.Range) {
	if e.through == nil {
		e.through = make(map[emittedTo]offsets.Range)
	}
	if have, ok := e.through[to]; ok {
		r = offsets.Range{Lo: min(have.Lo, r.Lo), Hi: max(have.Hi, r.Hi)}
	}
	e.through[to] = r
}

// merge adds what other has.
func (e *emitted) merge(other *emitted) {
	for _, r := range other.of.Ranges() {
		e.of.Add(r.Lo, r.Hi)
	}
	for to, r := range other.through {
		e.reach(to, r)
	}
}

// ranges returns the offsets of the events as they stand in marks: never nil.
func (e *emitted) ranges() []offsets.Range {
	return append([]offsets.Range{}, e.of.Ranges()...)
}

// positions returns through as it stands in marks.
func (e *emitted) positions() []obligation.Position {
	var positions []obligation.Position
	for to, r := range e.through {
		positions = append(positions, obligation.Position{Topic: to.topic, TopicID: to.id, Partition: to.partition, Offset: r.Hi, Span: r.Hi - r.Lo})
	}
	return slices.SortedFunc(slices.Values(positions), func(a, b obligation.Position) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Offset, b.Offset))
	})
}

// throughOf returns where records are that are durable. Those of topics that carry no events are left out.
func (r *Reactor) throughOf(records ...*kgo.Record) []reached {
	var through []reached
	for _, record := range records {
		if obligation.Internal(record.Topic) {
			continue
		}
		known, _ := r.client.Known(record.Topic)
		to := emittedTo{record.Topic, obligation.TopicID(known.ID), record.Partition, record.LeaderEpoch}
		at := offsets.Range{Lo: record.Offset, Hi: record.Offset + 1}
		if i := slices.IndexFunc(through, func(have reached) bool { return have.emittedTo == to }); i >= 0 {
			through[i].Lo, through[i].Hi = min(through[i].Lo, at.Lo), max(through[i].Hi, at.Hi)
			continue
		}
		through = append(through, reached{to, at})
	}
	return through
}

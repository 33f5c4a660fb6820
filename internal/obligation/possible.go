package obligation

import (
	"maps"
	"slices"
)

// Ends returns the offset after the last record of a partition, as it was asked for after the fact had been read. known
// is false if the end is not known, or if the topic of that name has another id. A nil Ends knows no end.
type Ends func(topic string, id TopicID, partition int32) (end int64, known bool)

// of returns the highest offset that a writer may have given for a partition, and whether that is the partition's end.
func (e Ends) of(s *Subscription, partition int32) (highest int64, known bool) {
	if e != nil {
		if end, known := e(s.Topic, s.TopicID, partition); known {
			return end, true
		}
	}
	return maxOffset, false
}

// Possible returns the subscription that s counts as if it is read after have, the one that has counted so far; have may
// be nil. The writer of a subscription asks for the ends of the partitions before it writes, and ends only grow, so
// nobody has given an offset above the end of its partition. If it were believed, the reaction would owe nothing to
// events that it has to handle. In place of such an offset the result has that of have, since a subscription that goes
// on keeps its offsets, and the partition's end if have does not say. Where the end is not known, offsets up to
// maxOffset are possible. If all offsets are possible, the result is s.
func (s *Subscription) Possible(have *Subscription, ends Ends) *Subscription {
	goesOn := have != nil && !have.Retired && s.TopicID.Is(have.TopicID)
	was := new(Subscription)
	if goesOn {
		was = have
	}
	p := s.Clone()
	p.lower(p.Start, was.Start, goesOn, ends)
	p.lower(p.Since, was.Since, goesOn, ends)
	for typ, since := range p.TypeSince {
		had := goesOn && (len(was.Types) == 0 || slices.Contains(was.Types, typ)) && !slices.Contains(was.Joining, typ)
		p.lower(since, was.TypeSince[typ], had, ends)
	}
	for typ, e := range p.Ended {
		had, ok := was.Ended[typ]
		p.lower(e.Since, had.Since, ok, ends)
		p.lower(e.Until, had.Until, ok, ends)
	}
	if p.Equal(s) {
		return s
	}
	return p
}

// lower replaces the offsets in of, a field of s, that are impossible. If s keeps the offsets of before, where a missing
// one means 0, it takes those. Otherwise, or if those are impossible too, it takes the end of the partition, or removes
// the offset if the end is not known.
func (s *Subscription) lower(of, before map[int32]int64, keeps bool, ends Ends) {
	for partition, offset := range maps.Clone(of) {
		highest, known := ends.of(s, partition)
		if 0 <= offset && offset <= highest {
			continue
		}
		switch old, has := before[partition]; {
		case keeps && has && 0 <= old && old <= highest:
			of[partition] = old
		case keeps && !has, !known, offset < 0:
			delete(of, partition)
		default:
			of[partition] = highest
		}
	}
}

package reactor

import (
	"encoding/binary"
	"slices"
)

// refetchPerLane is the number of events of a lane that one refetch reads at most.
const refetchPerLane = 128

// backlog has the events of a lane whose payloads are not in memory, by their offsets. They are handled after all
// items of the lane. While a lane has a backlog, new events of the lane are added to the backlog.
type backlog struct {
	parts []*backlogPart // at least one, and none of them is empty
}

// backlogPart has the offsets of a backlog that belong to one partition.
type backlogPart struct {
	partition *partition
	offsets   offsetQueue
}

// offsetQueue is a queue of offsets in ascending order. An offset takes one to nine bytes, depending on its distance
// from the one before. The zero value is an empty queue.
type offsetQueue struct {
	// deltas has a uvarint for each offset: for the first one its distance from before, for each other one its
	// distance from the offset in front of it.
	deltas []byte
	before int64 // the offset to which the first delta is added
	last   int64 // the last offset; undefined if n is 0
	n      int   // the number of offsets
}

// push appends an offset, which must be above all that were pushed before. It returns the number of bytes that the
// queue has grown by.
func (q *offsetQueue) push(offset int64) int64 {
	if q.n == 0 {
		q.before, q.last = offset, offset
	}
	had := len(q.deltas)
	q.deltas = binary.AppendUvarint(q.deltas, uint64(offset-q.last))
	q.last = offset
	q.n++
	return int64(len(q.deltas) - had)
}

// unshift puts an offset, which must be below all that are in the queue, at the front. It returns the number of bytes
// that the queue has grown by.
func (q *offsetQueue) unshift(offset int64) int64 {
	if q.n == 0 {
		return q.push(offset)
	}
	had := len(q.deltas)
	delta, size := binary.Uvarint(q.deltas)
	// The 0 is the delta of the new offset, since before becomes that offset.
	deltas := binary.AppendUvarint([]byte{0}, uint64(q.before+int64(delta)-offset))
	q.deltas = append(deltas, q.deltas[size:]...)
	q.before = offset
	q.n++
	return int64(len(q.deltas) - had)
}

// first returns the first offset. The queue must not be empty.
func (q *offsetQueue) first() int64 {
	delta, _ := binary.Uvarint(q.deltas)
	return q.before + int64(delta)
}

// pop removes the first offset. It returns the number of bytes that the queue has shrunk by. The queue must not be
// empty.
func (q *offsetQueue) pop() int64 {
	delta, size := binary.Uvarint(q.deltas)
	q.before += int64(delta)
	q.deltas = q.deltas[size:]
	q.n--
	return int64(size)
}

// head returns the first offsets of the queue, at most max of them, without removing them.
func (q *offsetQueue) head(max int) []int64 {
	offsets := make([]int64, 0, min(max, q.n))
	at, deltas := q.before, q.deltas
	for len(offsets) < cap(offsets) {
		delta, size := binary.Uvarint(deltas)
		at += int64(delta)
		offsets, deltas = append(offsets, at), deltas[size:]
	}
	return offsets
}

// dropPayload replaces an item by its offset in the backlog of its lane, so that the memory of its payload can be
// freed. The item must already have been taken out of its lane and of all other lists. With first, the offset goes to
// the front of its partition's part of the backlog, otherwise to the end. The item's state becomes itemGone.
func (s *scheduler) dropPayload(it *item, first bool) {
	b := s.backlogs[it.lane]
	if b == nil {
		b = new(backlog)
		s.backlogs[it.lane] = b
	}
	i := slices.IndexFunc(b.parts, func(part *backlogPart) bool { return part.partition == it.partition })
	if i < 0 {
		i = len(b.parts)
		b.parts = append(b.parts, &backlogPart{partition: it.partition})
		s.charge(it.partition, backlogBytes)
	}
	add := b.parts[i].offsets.push
	if first {
		add = b.parts[i].offsets.unshift
	}
	s.charge(it.partition, add(it.event.Offset))
	s.inBacklogs++
	s.release(it)
	it.state = itemGone
}

// popBacklog removes the first offset of a part of a lane's backlog, and the part if it is empty then.
func (s *scheduler) popBacklog(lane laneKey, part *backlogPart) {
	s.charge(part.partition, -part.offsets.pop())
	s.inBacklogs--
	if part.offsets.n == 0 {
		s.removePart(lane, part)
	}
}

// removePart removes a part and its offsets from a lane's backlog, and the backlog if that has no other part.
func (s *scheduler) removePart(lane laneKey, part *backlogPart) {
	s.charge(part.partition, -int64(len(part.offsets.deltas))-backlogBytes)
	s.inBacklogs -= part.offsets.n
	part.offsets = offsetQueue{}
	b := s.backlogs[lane]
	b.parts = slices.DeleteFunc(b.parts, func(p *backlogPart) bool { return p == part })
	if len(b.parts) == 0 {
		delete(s.backlogs, lane)
		delete(s.due, lane)
	}
}

// withdrawBacklogs removes the parts that belong to p from all backlogs.
func (s *scheduler) withdrawBacklogs(p *partition) {
	for lane, b := range s.backlogs {
		for _, part := range slices.Clone(b.parts) {
			if part.partition == p {
				s.removePart(lane, part)
			}
		}
		s.continueLane(lane)
	}
}

// continueLane asks for a refetch of the lane's backlog if the lane has a backlog and no items. It must be called
// whenever an item has left the lane.
func (s *scheduler) continueLane(lane laneKey) {
	if s.backlogs[lane] == nil || s.lanes.has(lane) || s.due[lane] {
		return
	}
	s.due[lane] = true
	s.askRefetch()
}

// askRefetch emits a wantRefetch, unless one was emitted that has not been answered or a refetch is under way.
func (s *scheduler) askRefetch() {
	if !s.refetchAsked && s.refetching == nil {
		s.refetchAsked = true
		s.emit(wantRefetch{})
	}
}

// onRefetchBegun begins a refetch for all lanes that are due: it emits a refetch effect with the first offsets of
// their backlogs.
func (s *scheduler) onRefetchBegun() {
	s.refetchAsked = false
	if s.draining || s.stoodDown || len(s.due) == 0 {
		return
	}
	s.refetching = make(map[refetchKey]*laneRefetch)
	wanted := make(map[*partition][]int64)
	for lane := range s.due {
		for _, part := range s.backlogs[lane].parts {
			offsets := part.offsets.head(refetchPerLane)
			s.refetching[refetchKey{lane, part.partition}] = &laneRefetch{part, offsets[0], offsets[len(offsets)-1]}
			wanted[part.partition] = append(wanted[part.partition], offsets...)
		}
	}
	var e refetch
	for p, offsets := range wanted {
		slices.Sort(offsets)
		e.parts = append(e.parts, refetchPart{p.topicPartition, p.incarnation, offsets})
	}
	slices.SortFunc(e.parts, func(a, b refetchPart) int { return int(a.incarnation - b.incarnation) })
	s.emit(e)
}

// refetchKey identifies a backlog part, of one lane and one partition, that a refetch reads.
type refetchKey struct {
	lane      laneKey
	partition *partition
}

// laneRefetch says which offsets of a backlog part the refetch under way has asked for.
type laneRefetch struct {
	*backlogPart // removed from its backlog once it is empty
	// from is the lowest offset that the refetch has not dealt with: asked offsets below it were handed over or are
	// not in the log any more. An offset below from that is in the part was put back there after it had been handed
	// over.
	from int64
	last int64 // the last offset that was asked for
}

// onRefetched puts events that were read again into their lanes. An event that was asked for, has an offset below
// ev.through and is not among the records was removed from the log by compaction: its offset becomes done without a
// handler.
func (s *scheduler) onRefetched(ev refetched) {
	p := s.owned(ev.incarnation)
	if p == nil || p.revoking {
		return
	}
	for i := range ev.records {
		r := &ev.records[i]
		it := s.newItem(p, r)
		part, asked := s.refetching[refetchKey{it.lane, p}]
		if !asked || r.handler == nil {
			continue
		}
		s.refetchGap(it.lane, part, r.Offset)
		if part.offsets.n > 0 && part.offsets.first() == r.Offset {
			s.popBacklog(it.lane, part.backlogPart)
			s.hold(it)
			it.foldOnly = p.tracker.isDone(r.Offset)
			it.state = itemQueued
			s.lanes.add(it.lane, it)
			delete(s.due, it.lane)
		}
	}
	for key, part := range s.refetching {
		if key.partition == p {
			s.refetchGap(key.lane, part, min(ev.through, part.last+1))
			part.from = max(part.from, ev.through)
		}
	}
	s.noteProgress(p)
}

// refetchGap makes those offsets of a part done that are below an offset, were asked for in this refetch, and were not
// handed over: compaction has removed their records.
func (s *scheduler) refetchGap(lane laneKey, part *laneRefetch, below int64) {
	for part.offsets.n > 0 && part.from <= part.offsets.first() && part.offsets.first() < below {
		if t := part.partition.tracker; !t.isDone(part.offsets.first()) { // else it was only to be folded
			t.finish(part.offsets.first())
			part.partition.urgent = true
		}
		s.popBacklog(lane, part.backlogPart)
	}
}

// onRefetchEnded ends the refetch, and asks for another one if lanes have become due.
func (s *scheduler) onRefetchEnded() {
	ended := s.refetching
	s.refetching = nil
	for key := range ended {
		delete(s.due, key.lane)
	}
	for key := range ended {
		s.continueLane(key.lane)
	}
	if len(s.due) > 0 {
		s.askRefetch()
	}
}

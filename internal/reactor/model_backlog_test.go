package reactor

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// readAgain begins a refetch of dropped payloads, or returns some records of the refetch that is under way, or ends it.
func (m *model) readAgain() {
	if m.reread == nil {
		m.wanted = false
		m.step(refetchBegun{})
		return
	}
	if len(m.reread) == 0 || rapid.IntRange(0, 9).Draw(m.t, "fails") == 0 {
		m.reread = nil
		m.step(refetchEnded{})
		return
	}
	part := m.reread[0]
	n := rapid.IntRange(1, len(part.offsets)).Draw(m.t, "reread")
	ev := refetched{incarnation: part.incarnation, through: part.offsets[n-1] + 1}
	for _, o := range part.offsets[:n] {
		log := m.log[part.topicPartition]
		i := slices.IndexFunc(log, func(r record) bool { return r.Offset == o })
		if i >= 0 && m.s.window == 0 && rapid.IntRange(0, 9).Draw(m.t, "compacted") == 0 {
			m.log[part.topicPartition] = slices.Delete(slices.Clone(log), i, i+1)
			i = -1
		}
		if i < 0 {
			if p := m.byIncarnation(part.incarnation); p != nil && !p.revoking && !m.putBackBefore(p, o) {
				p.done[o] = true
				delete(p.open, o)
			}
			continue
		}
		ev.records = append(ev.records, log[i])
	}
	if m.reread[0].offsets = part.offsets[n:]; len(m.reread[0].offsets) == 0 {
		m.reread = m.reread[1:]
	}
	m.step(ev)
}

// putBackBefore reports whether an earlier event of the lane of the event at this offset was put back into the backlog
// after it had been read again. Then only the next refetch notices that the log has no record at the offset any more.
func (m *model) putBackBefore(p *modelPartition, offset int64) bool {
	for key, part := range m.s.refetching {
		if key.partition.incarnation == p.incarnation && key.lane == laneOf(p.topicPartition, offset, p.open[offset]) {
			return part.offsets.n > 0 && part.offsets.first() < part.from
		}
	}
	return false
}

// laneOf returns the lane of an event.
func laneOf(tp topicPartition, offset int64, subject string) laneKey {
	if subject == "" {
		return laneKey{place: tp, offset: offset}
	}
	return laneKey{subject: subject}
}

// checkRefetch checks that the events to be read again are open, and that their payloads were dropped.
func (m *model) checkRefetch(e refetch) {
	m.reread = []refetchPart{}
	for _, part := range e.parts {
		p := m.byIncarnation(part.incarnation)
		if p == nil || p.revoking || len(part.offsets) == 0 {
			m.t.Fatalf("%+v is to be read again", part)
		}
		for _, o := range part.offsets {
			subject, open := p.open[o]
			if !open && p.done[o] && m.s.stateful { // only to be folded
				continue
			}
			if !open || !m.inBacklog(p, o, subject) {
				m.t.Fatalf("%s@%d is to be read again; open: %v", p.topicPartition, o, open)
			}
		}
		m.reread = append(m.reread, refetchPart{part.topicPartition, part.incarnation, slices.Clone(part.offsets)})
	}
}

// inBacklog reports whether the payload of an event was dropped.
func (m *model) inBacklog(p *modelPartition, offset int64, subject string) bool {
	t := m.s.backlogs[laneOf(p.topicPartition, offset, subject)]
	if t == nil {
		return false
	}
	for _, part := range t.parts {
		if part.partition.incarnation == p.incarnation && slices.Contains(part.offsets.head(part.offsets.n), offset) {
			return true
		}
	}
	return false
}

// checkMemory checks what the scheduler counts. Each open event must be in memory or in a backlog. Each backlog whose
// lane has no items in memory must be about to be read. The counted bytes must be the sum over all items and backlogs.
func (m *model) checkMemory() {
	s := m.s
	var bytes, held int64
	events := make(map[incarnation]int) // those for which a handler is to run
	waiting := 0                        // those and the events that are only to be folded
	count := func(it *item) {
		waiting++
		if !it.foldOnly {
			events[it.partition.incarnation]++
		}
	}
	for _, p := range s.partitions {
		for _, it := range p.held {
			held += it.bytes
			count(it)
		}
	}
	bytes = held
	for _, p := range s.partitions {
		for _, w := range []*withheld{p.withheld, p.passing} {
			for _, it := range w.behind {
				bytes += it.bytes
				count(it)
			}
		}
	}
	for _, ln := range s.lanes.table.slots {
		if ln == nil {
			continue
		}
		for _, it := range ln.items {
			if it.bytes < itemBytes {
				m.t.Fatalf("%s@%d takes %d bytes", it.partition, it.event.Offset, it.bytes)
			}
			bytes += it.bytes
			count(it)
		}
	}
	inBacklogs := 0
	for lane, t := range s.backlogs {
		for _, part := range t.parts {
			if part.partition.revoking || part.offsets.n == 0 {
				m.t.Fatalf("a backlog has %d offsets of %s", part.offsets.n, part.partition)
			}
			bytes += backlogBytes + int64(len(part.offsets.deltas))
			for _, o := range part.offsets.head(part.offsets.n) {
				if !part.partition.tracker.isDone(o) {
					events[part.partition.incarnation]++
				}
			}
			inBacklogs += part.offsets.n
			waiting += part.offsets.n
		}
		if asked := slices.ContainsFunc(slices.Collect(maps.Keys(s.refetching)), func(k refetchKey) bool { return k.lane == lane }); !s.lanes.has(lane) && !s.due[lane] && !asked {
			m.t.Fatalf("nobody will read the backlog of %v", lane)
		}
	}
	if len(s.due) > 0 && !m.wanted && m.reread == nil && !s.stoodDown {
		m.t.Fatalf("nobody will read the backlogs of %v", s.due)
	}
	if bytes != s.bytes || held != s.heldBytes || inBacklogs != s.inBacklogs {
		m.t.Fatalf("%d bytes, %d of them held, and %d events in backlogs are counted; want %d, %d, %d", s.bytes, s.heldBytes, s.inBacklogs, bytes, held, inBacklogs)
	}
	if s.waiting() != waiting {
		m.t.Fatalf("%d events are said to wait, want %d", s.waiting(), waiting)
	}
	for _, p := range m.owned {
		if !p.revoking && events[p.incarnation] != len(p.open) {
			m.t.Fatalf("%d events of %s are in memory or in backlogs, want %d", events[p.incarnation], p.topicPartition, len(p.open))
		}
	}
	for lane := range s.blocked {
		if ln := s.lanes.of(lane); ln == nil || s.bytes > s.high() && len(ln.items) > 1 {
			m.t.Fatalf("%d of %d bytes are taken, and lane %v is blocked: %+v", s.bytes, s.budget, lane, ln)
		}
	}
	enough, taken := s.lanes.ready() >= lanesPerWorker*s.concurrency, s.bytes-s.heldBytes
	if s.polling && (taken > s.budget || enough && taken > s.budget/4) || !s.polling && taken <= s.high() && !(enough && 2*taken > s.budget/4) {
		m.t.Fatalf("%d of %d bytes are taken, %d lanes are ready; polling: %v", taken, s.budget, s.lanes.ready(), s.polling)
	}
}

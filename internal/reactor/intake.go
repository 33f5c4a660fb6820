package reactor

import "tidings.dev/internal/obligation"

// onArrived takes in records of one partition. It ignores records of a partition that is not owned any more, is being given up, or
// has gone back.
func (s *scheduler) onArrived(ev arrived) {
	p := s.partitions[ev.topicPartition]
	if p == nil || p.revoking || p.wentBack || s.draining || s.stoodDown {
		return
	}
	for i := range ev.records {
		r := &ev.records[i]
		if p.replaced(r) {
			p.wentBack = true
			s.emit(wentBack{p.topicPartition, r.Offset, p.tracker.next})
			break
		}
		if r.Offset >= p.start-1 {
			p.leader = max(p.leader, r.leader)
		}
		if r.Offset < p.start {
			s.replay(p, r)
			if r.Offset < p.start-1 {
				continue
			}
		}
		s.endReplay(p) // also if compaction has removed the last records below start
		if r.Offset >= p.start {
			s.accept(p, r)
		}
	}
	s.saveMemory()
	s.pauseHeaviest()
	s.noteProgress(p)
}

// replaced reports whether a record has come in place of one that was read before, here or by whoever committed the position: it is of a
// later leader epoch than all that was read, and below the end of that. The log has lost its end then (KIP-320). The record must not be
// taken in, since its place is that of another event, which may be done or being handled.
func (p *partition) replaced(r *record) bool {
	return p.leader >= 0 && r.leader > p.leader && r.Offset < p.tracker.next
}

// replay takes in a record below the position. Its event was handled before, so it is only remembered in the window
// and folded.
func (s *scheduler) replay(p *partition, r *record) {
	if r.control {
		return
	}
	if _, copied := p.window.seen(r.identity, r.Offset); !copied {
		s.foldRecord(r)
	}
}

// endReplay records that a partition was read again up to its start. If that now holds for all partitions of its
// number, the items that they hold are admitted.
func (s *scheduler) endReplay(p *partition) {
	if !p.replaying {
		return
	}
	p.replaying = false
	s.checkReady()
	s.openGate(p.partition)
}

// accept takes in a record at or above p.start.
func (s *scheduler) accept(p *partition, r *record) {
	arrival := p.tracker.arrive(r.Offset)
	switch {
	case arrival == arrivedAgain:
		return
	case r.control:
		if arrival == arrivedNew {
			p.tracker.finish(r.Offset)
		}
		return
	}
	original, copied := p.window.seen(r.identity, r.Offset)
	switch {
	case arrival == arrivedDone:
		if !copied {
			s.foldDone(p, r)
		}
	case r.handler != nil && p.epoch == 0 && r.Offset < r.since:
		if !copied {
			s.foldRecord(r)
		}
		p.tracker.finish(r.Offset)
		p.summary.unhandled.Add(r.Offset, r.Offset+1)
		s.counts.unhandled++
	case r.handler == nil:
		if r.NotUnderstood != "" {
			s.noteNotUnderstood(p, r)
		}
		s.withhold(p, r)
	case copied:
		p.tracker.finishCopy(r.Offset)
		s.counts.duplicates++
		p.summary.copies = append(p.summary.copies, obligation.Copy{Offset: r.Offset, Of: original})
		p.urgent = true
	default:
		s.queue(s.newItem(p, r))
	}
}

// queue takes an item in: behind the gate, if it is closed, or in its lane.
func (s *scheduler) queue(it *item) {
	s.hold(it)
	if p := it.partition; s.gateClosed(p.partition) {
		s.heldBytes += it.bytes
		p.held = append(p.held, it)
		p.heldLanes[it.lane] = true
		return
	}
	s.admit(it)
}

// foldDone folds an event that was done when the partition was assigned, after all events of its subject that came before and
// are not folded yet. There are such only after a seek by which they, but not this event, are handled again.
func (s *scheduler) foldDone(p *partition, r *record) {
	if r.handler == nil || r.handler.Fold == nil {
		return
	}
	it := s.newItem(p, r)
	it.foldOnly = true
	if p.heldLanes[it.lane] || s.lanes.has(it.lane) || s.backlogs[it.lane] != nil || p.withheld.holdsUp(it) || p.passing.holdsUp(it) {
		s.queue(it)
		return
	}
	s.foldRecord(r)
}

// foldQueued folds an event whose turn it is and for which no handler is to run.
func (s *scheduler) foldQueued(it *item) {
	s.emit(fold{it.handler, &it.event})
	it.state = itemGone
	s.release(it)
	s.lanes.done(it.lane)
	s.continueLane(it.lane)
}

// foldRecord has an event that is not to be handled folded, if its handler has a Fold. Events without a handler are
// not folded.
func (s *scheduler) foldRecord(r *record) {
	if r.handler != nil && r.handler.Fold != nil {
		s.emit(fold{r.handler, &r.Event})
	}
}

// noteProgress makes sure that what has become done in a partition is written: soon if it is urgent, and otherwise
// within unhandledCommit, because a position that moves only over events that need no handler is not worth a round of
// its own. It does nothing for a partition that is being given up, whose last round writes everything.
func (s *scheduler) noteProgress(p *partition) {
	switch {
	case p.revoking:
	case p.urgent:
		s.wantRound()
	case p.dirty() || !p.withheld.empty() || p.failing.changed:
		s.armFlush()
	}
}

// wantRound emits a wantRound, unless the step has emitted one.
func (s *scheduler) wantRound() {
	if !s.roundWanted {
		s.roundWanted = true
		s.emit(wantRound{})
	}
}

// armFlush emits an armFlush effect unless one is pending, so that onFlushDue follows.
func (s *scheduler) armFlush() {
	if !s.flushArmed {
		s.flushArmed = true
		s.emit(armFlush{})
	}
}

// onFlushDue asks for a round that writes everything that has become done.
func (s *scheduler) onFlushDue() {
	s.flushArmed = false
	for _, p := range s.partitions {
		p.urgent = p.urgent || p.dirty() || !p.withheld.empty() || p.failing.changed
	}
	s.wantRound()
}

package reactor

import "slices"

// onRoundBegun gathers what the round writes and emits a commit. If there is nothing to write, no round is open
// afterwards.
func (s *scheduler) onRoundBegun(ev roundBegun) {
	if s.roundOpen {
		panic("reactor: a round begins while another is open") // a programming error of the driver
	}
	var parts []finished
	for _, p := range s.concerned(ev.of) {
		if !p.dirty() && !p.recommit && !(ev.progress && p.failing.changed) {
			if p.urgent = false; p.failing.changed {
				s.armFlush() // so that failing is written with the next progress
			}
			continue
		}
		parts = append(parts, p.finished(ev.progress))
		if n := p.tracker.ahead.Len(); !p.revoking {
			p.full = n > s.maxAhead || p.full && n > s.resumeAhead
			s.balanceFetching(p)
		}
	}
	if len(parts) > 0 {
		s.roundOpen, s.round = true, parts
		s.emit(commit{parts})
	}
}

// onRoundEnded puts what was not written back into its partition, for the next round. It drops a part whose partition
// was lost meanwhile: the partition's next owner, which may be a later incarnation in this instance, goes on from what
// is committed.
func (s *scheduler) onRoundEnded(ev roundEnded) {
	for _, f := range s.round {
		p := s.partitions[f.topicPartition]
		switch {
		case p == nil || p.incarnation != f.incarnation:
		case !ev.marked:
			p.tracker.untake(f.done)
			f.summary.add(p.summary)
			p.summary, p.urgent = f.summary, true
			p.chunks = nil // they may not have been written, so all of them are written again
			p.failing.changed = p.failing.changed || f.failingChanged
		case slices.Contains(ev.uncommitted, f.incarnation):
			p.recommit = true
		}
		if ev.marked && p != nil && p.incarnation == f.incarnation && f.whole {
			p.marksFrom = max(p.marksFrom, ev.marksEnd)
		}
	}
	s.roundOpen, s.round = false, nil
}

// onRenew makes the next round commit all positions, even where nothing is new.
func (s *scheduler) onRenew() {
	for _, p := range s.partitions {
		p.recommit = true
	}
	s.wantRound()
}

// concerned returns the partitions that a round is about: those in of, or, if of is nil, all that have something
// urgent and are not being given up.
func (s *scheduler) concerned(of []incarnation) []*partition {
	var parts []*partition
	if of == nil {
		for _, p := range s.partitions {
			if (p.urgent || p.recommit) && !p.revoking {
				parts = append(parts, p)
			}
		}
		return parts
	}
	for _, i := range of {
		if p := s.owned(i); p != nil && !p.sealed {
			parts = append(parts, p)
		}
	}
	return parts
}

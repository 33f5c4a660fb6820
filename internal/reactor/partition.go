package reactor

import (
	"maps"

	"tidings.dev/internal/offsets"
)

// partition is what the scheduler keeps for one incarnation of a partition.
//
// Fetching begins below the committed position: the records in [replayFrom, start) are read again for their
// identities, by which copies are recognised, and, if the reaction has state, to fold their events. No handler is run
// for events below start.
//
// Invariants: start <= tracker.position; held is empty unless the gate of the partition's number is closed; out >= 0.
type partition struct {
	topicPartition
	incarnation incarnation
	start       int64 // the committed position when the partition was assigned
	epoch       int64 // number of the last seek
	// leader is the leader epoch of the newest record that has arrived from start-1 on, or that was read before the position was
	// committed at which the partition was taken up; -1 if none is known.
	leader int32

	identityFrom int64 // see assignment

	tracker   *tracker
	window    *window
	replaying bool             // the records below start are still being read again
	held      []*item          // items that arrived while the gate was closed, in order
	heldLanes map[laneKey]bool // the lanes of held
	out       int              // number of items that are given out
	revoking  bool             // the partition is being given up, or is lost
	wentBack  bool             // a wentBack was emitted
	sealed    bool             // a seek is about to move the partition: results of its handlers are ignored
	idle      bool             // a becomeIdle was emitted
	paused    bool             // a pauseFetch is in force
	full      bool             // as many offsets are done ahead as may be kept in memory
	heavy     bool             // paused because its events take much memory
	bytes     int64            // memory that its items and its parts of backlogs take
	topicID   topicID          // the topic's id at the time of the assignment
	// marksFrom is an offset of tidings.reactions: what is done ahead is in the metadata that was committed last, in the
	// progress, or in the marks from there on.
	marksFrom int64
	// chunks has, for each chunk that was written in this incarnation, the number of its offsets that were done then
	// (see changedChunks). It is nil until the first chunk is written.
	chunks map[int64]int64

	failing  failing
	withheld *withheld // events that wait for the next look at the subscriptions
	passing  *withheld // events that wait for the look that is under way
	summary  summary   // describes the offsets that the tracker's next take returns
	urgent   bool      // a round should follow soon: an event was handled, skipped or dropped
	recommit bool      // the position must be committed again, even if nothing has become done
}

// dirty reports whether there is something to write marks about.
func (p *partition) dirty() bool { return p.tracker.dirty() || len(p.summary.copies) > 0 }

// finished takes from the partition what a commit round writes about it. With progress, it includes the failing events
// if they have changed, and the chunks that have changed if the metadata has no room for all that is done ahead.
func (p *partition) finished(progress bool) finished {
	f := finished{
		topicPartition: p.topicPartition, incarnation: p.incarnation, epoch: p.epoch, leader: p.leader,
		position:  p.tracker.position,
		read:      p.tracker.next,
		marksFrom: p.marksFrom,
		draft:     draftMetadata(p.topicID, p.epoch, p.tracker.position, &p.tracker.ahead),
		done:      p.tracker.take(),
		summary:   p.summary,
	}
	if progress {
		f.failing, f.failingChanged = p.failing.take()
	}
	switch {
	case f.draft.partial && (progress || p.chunks == nil):
		f.whole = true
		if p.chunks == nil {
			p.chunks = make(map[int64]int64)
		}
		f.chunks = changedChunks(p.tracker.position, &p.tracker.ahead, p.chunks)
	case !f.draft.partial:
		f.whole = true
		f.chunks = changedChunks(p.tracker.position, new(offsets.Set), p.chunks)
		p.chunks = nil
	}
	p.summary, p.urgent, p.recommit = summary{}, false, false
	return f
}

// onAssigned takes up the partitions of one assignment, all at once, because the gate of one may have to wait for
// another.
func (s *scheduler) onAssigned(ev assigned) {
	for _, a := range ev.partitions {
		if old := s.partitions[a.topicPartition]; old != nil {
			s.lose(old)
		}
	}
	for _, a := range ev.partitions {
		s.partitions[a.topicPartition] = s.newPartition(a)
	}
	s.checkReady()
}

func (s *scheduler) newPartition(a assignment) *partition {
	return &partition{
		topicPartition: a.topicPartition, incarnation: a.incarnation, start: a.position, epoch: a.epoch, leader: a.leader, topicID: a.topicID, marksFrom: a.marksFrom, identityFrom: a.identityFrom,
		heldLanes: make(map[laneKey]bool),
		tracker:   newTracker(a.position, a.ahead),
		window:    newWindow(s.window),
		failing:   failing{events: a.failing},
		withheld:  newWithheld(), passing: newWithheld(),
		replaying: a.replayFrom < a.position,
	}
}

func (s *scheduler) onSeal(ev seal) {
	for _, i := range ev.incarnations {
		if p := s.owned(i); p != nil && p.revoking {
			p.sealed = true
		}
	}
}

// onMoved takes partitions up anew. The next round commits their positions once more, and writes down in their epochs what has
// failed.
func (s *scheduler) onMoved(ev moved) {
	s.onAssigned(assigned(ev))
	for _, a := range ev.partitions {
		p := s.partitions[a.topicPartition]
		p.urgent, p.recommit = true, true
		p.failing.changed = len(p.failing.events) > 0
		s.noteProgress(p)
	}
}

// retaken returns the assignment by which the partition would go on where it is.
func (p *partition) retaken() assignment {
	return assignment{
		topicPartition: p.topicPartition, position: p.tracker.position, ahead: p.tracker.ahead.Clone(), epoch: p.epoch, leader: p.leader, topicID: p.topicID,
		failing: maps.Clone(p.failing.events), marksFrom: p.marksFrom, identityFrom: p.identityFrom,
	}
}

// onRevoke withdraws the items of partitions that are about to be given up.
func (s *scheduler) onRevoke(ev revoke) {
	for _, i := range ev.incarnations {
		if p := s.owned(i); p != nil {
			s.withdraw(p)
			if p.out == 0 {
				s.becomeIdle(p)
			}
		}
	}
}

// onLost forgets partitions that are not owned any more.
func (s *scheduler) onLost(ev lost) {
	for _, i := range ev.incarnations {
		if p := s.owned(i); p != nil {
			s.lose(p)
		}
	}
	if !s.draining {
		s.checkReady() // the last partition that was replayed may be gone
	}
}

// withdraw makes sure that no handler is begun for a partition any more. Items that are given out stay at the head of
// their lanes until their attempts end.
func (s *scheduler) withdraw(p *partition) {
	p.revoking = true
	for _, it := range p.held {
		s.heldBytes -= it.bytes
		s.release(it)
		it.state = itemGone
	}
	p.held = nil
	clear(p.heldLanes)
	s.withdrawWithheld(p)
	s.lanes.drop(func(it *item) bool {
		if it.partition != p {
			return false
		}
		if it.state == itemWaiting {
			s.retrying--
			s.emit(disarmRetry{it})
		}
		if it.failures > 0 {
			delete(s.blocked, it.lane) // an item that has failed is the first of its lane
		}
		s.release(it)
		it.state = itemGone
		return true
	})
	s.withdrawBacklogs(p)
}

// becomeIdle emits a becomeIdle for p, once.
func (s *scheduler) becomeIdle(p *partition) {
	if !p.idle {
		p.idle = true
		s.emit(becomeIdle{p.incarnation})
	}
}

// lose forgets a partition. It also drops the states of the partition's number, unless a partition of another topic
// with that number is still owned.
func (s *scheduler) lose(p *partition) {
	if p.revoking {
		s.becomeIdle(p)
	}
	s.withdraw(p)
	delete(s.partitions, p.topicPartition)
	if p.paused {
		s.emit(resumeFetch{p.topicPartition}) // kgo keeps partitions paused, even if they are lost and come back
	}
	s.emit(forget{p.incarnation})
	for tp := range s.partitions {
		if tp.partition == p.partition {
			return
		}
	}
	if s.stateful {
		s.emit(dropState{p.partition})
	}
}

// gateClosed reports whether the states of a partition number are being rebuilt, so that no handlers may run for the
// number.
func (s *scheduler) gateClosed(number int32) bool {
	if !s.stateful {
		return false
	}
	for tp, p := range s.partitions {
		if tp.partition == number && p.replaying {
			return true
		}
	}
	return false
}

// openGate admits the items that the partitions of a number hold, unless the number's gate is closed.
func (s *scheduler) openGate(number int32) {
	if s.gateClosed(number) {
		return
	}
	for tp, p := range s.partitions {
		if tp.partition != number {
			continue
		}
		for _, it := range p.held {
			s.heldBytes -= it.bytes
			s.admit(it)
		}
		p.held = nil
		clear(p.heldLanes)
	}
}

// enqueue appends an item to its lane, or to the backlog if the lane has one.
func (s *scheduler) enqueue(it *item) {
	if s.backlogs[it.lane] != nil {
		s.dropPayload(it, false)
		return
	}
	it.state = itemQueued
	s.lanes.add(it.lane, it)
	s.grown = true
}

// checkReady makes the reaction ready, once, when none of its partitions is being replayed for its state. It must be
// called whenever that may have become true. A reaction that owns no partitions is ready, too: other instances own
// them.
func (s *scheduler) checkReady() {
	if s.ready {
		return
	}
	if s.stateful {
		for _, p := range s.partitions {
			if p.replaying {
				return
			}
		}
	}
	s.ready = true
	s.emit(becomeReady{})
}

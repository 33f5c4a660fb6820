package reactor

import "slices"

// The events that a reaction has taken in and not finished are in memory, within a budget of bytes that its partitions
// share:
//
//   - Above three quarters of the budget, the payloads of events that cannot run soon are dropped: the events of
//     blocked lanes, except for the first of each lane. Their offsets stay in memory as the lane's backlog, and they
//     are read again when it is their turn (backlog.go).
//   - Above the whole budget, polling stops until three quarters are reached again. It also stops above a quarter of the
//     budget while all workers have enough to do (supplied): what is taken in sooner is not handled sooner. kgo keeps what
//     it has fetched.
//   - Events that are held behind a gate do not stop polling, because the gate may open only if another partition is
//     polled. Instead, above three quarters of the budget, the partition that holds the most is paused, one for each
//     batch that arrives, and resumed at half of the budget. kgo throws away what it has fetched for a partition that is
//     paused, so nothing else pauses one for its memory.

const (
	// itemBytes is the memory that an item takes besides the variable parts of its event: the item, its lane, and its
	// share of the tracker. It is an estimate.
	itemBytes = 768
	// backlogBytes is the memory that one part of a lane's backlog takes besides its offsets. It is an estimate.
	backlogBytes = 256
)

// high is the number of bytes above which payloads are dropped and partitions that hold events paused; low is the number
// at which these are resumed.
func (s *scheduler) high() int64 { return s.budget / 4 * 3 }
func (s *scheduler) low() int64  { return s.budget / 2 }

// hold charges the memory of an item, which is kept from now on, to its partition.
func (s *scheduler) hold(it *item) {
	e := &it.event
	it.bytes = itemBytes + int64(len(e.Data)+len(e.ID)+len(e.Type)+len(e.Source)+len(e.Subject)+len(e.Correlation)+len(e.Causation)+len(e.TraceParent))
	s.charge(it.partition, it.bytes)
	s.grown = true
}

// release takes back what hold has charged for an item.
func (s *scheduler) release(it *item) {
	s.charge(it.partition, -it.bytes)
	it.bytes = 0
}

// charge adds bytes to the memory that a partition takes. bytes may be negative.
func (s *scheduler) charge(p *partition, bytes int64) {
	s.bytes += bytes
	p.bytes += bytes
}

// block records that the first item of a lane may stay there for long, so that the payloads of the items behind it may
// be dropped. If memory is short, it drops them at once.
func (s *scheduler) block(it *item) {
	if it.state != itemOut && it.state != itemWaiting {
		return
	}
	s.blocked[it.lane] = true
	if s.bytes > s.high() {
		s.dropPayloads(it.lane)
	}
}

// dropPayloads drops the payloads of all items of a lane but the first.
func (s *scheduler) dropPayloads(lane laneKey) {
	for _, it := range slices.Backward(s.lanes.cut(lane)) {
		s.dropPayload(it, true) // offsets that are in the backlog already come after it
	}
}

// saveMemory drops payloads of blocked lanes until memory is at the low mark, if it is above the high mark and items were added
// to memory or to lanes since the last call. Every step calls it.
func (s *scheduler) saveMemory() {
	grown := s.grown
	s.grown = false
	if !grown || s.bytes <= s.high() {
		return
	}
	for lane := range s.blocked {
		if s.dropPayloads(lane); s.bytes <= s.low() {
			return
		}
	}
}

// pauseHeaviest pauses the partition with the most bytes among those that hold events, if memory is above the high mark. It
// must be called when records have arrived.
func (s *scheduler) pauseHeaviest() {
	if s.bytes <= s.high() || s.heldBytes == 0 {
		return
	}
	var heaviest *partition
	for _, p := range s.partitions {
		if p.revoking || p.paused || len(p.held) == 0 {
			continue
		}
		if h := heaviest; h == nil || p.bytes > h.bytes || p.bytes == h.bytes && p.incarnation < h.incarnation {
			heaviest = p
		}
	}
	if heaviest != nil {
		heaviest.heavy = true
		s.balanceFetching(heaviest)
	}
}

// balanceMemory resumes paused partitions and polling if there is room again, and stops polling if the budget is
// exceeded.
func (s *scheduler) balanceMemory() {
	if s.bytes <= s.low() {
		for _, p := range s.partitions {
			if p.heavy {
				p.heavy = false
				s.balanceFetching(p)
			}
		}
	}
	switch bytes := s.bytes - s.heldBytes; {
	case s.polling && (bytes > s.budget || s.supplied(bytes)):
		s.polling = false
		s.emit(pausePolling{})
	case !s.polling && bytes <= s.high() && !s.supplied(2*bytes):
		s.polling = true
		s.emit(resumePolling{})
	}
}

// lanesPerWorker is the number of lanes for each worker that are enough to keep all workers at work until more is polled.
const lanesPerWorker = 2

// supplied reports whether the events in memory take more than a quarter of the budget, by a count of bytes, and are enough to keep
// all workers at work.
func (s *scheduler) supplied(bytes int64) bool {
	return bytes > s.budget/4 && s.lanes.ready() >= lanesPerWorker*s.concurrency
}

package reactor

import (
	"bytes"

	"tidings.dev/internal/obligation"
)

// onHandled records that an item's event was handled, for the marks and the counts, and makes its offset done.
func (s *scheduler) onHandled(ev *handled) {
	s.counts.handled++
	s.counts.emitted += int64(ev.emitted)
	it := ev.item
	s.pace += (ev.finished.Sub(ev.started) - s.pace) / paceWeight
	sum := &it.partition.summary
	sum.times = append(sum.times, obligation.Timing{Offset: it.event.Offset, Took: ev.finished.Sub(ev.started), Finished: ev.finished})
	if it.failures > 0 {
		sum.retried = append(sum.retried, obligation.Retried{Offset: it.event.Offset, Attempts: it.failures + 1, Error: it.lastError})
	}
	sum.cover(ev.started, ev.finished)
	sum.emitted.add(it.event.Offset, ev.through)
	s.finish(ev.attempt)
}

// onSkipped records that an item's handler skipped its event, and makes its offset done.
func (s *scheduler) onSkipped(ev skipped) {
	s.counts.skipped++
	sum := &ev.item.partition.summary
	sum.skipped = append(sum.skipped, obligation.Skipped{Offset: ev.item.event.Offset, Reason: obligation.CutText(ev.reason)})
	sum.cover(ev.at, ev.at)
	sum.emitted.add(ev.item.event.Offset, ev.through)
	s.finish(ev.attempt)
}

// finish ends an attempt that has made its item's offset done.
func (s *scheduler) finish(a attempt) {
	p := a.item.partition
	p.tracker.finish(a.item.event.Offset)
	p.failing.forget(a.item.event.Offset)
	p.urgent = true
	s.endAttempt(a)
	s.leaveLane(a.item)
	s.noteProgress(p)
}

// onFailed keeps the item at the head of its lane until its next attempt is due. If the item's partition is being
// given up, the item leaves its lane instead: the next owner of the partition handles its event.
func (s *scheduler) onFailed(ev failed) {
	s.counts.retried++
	it := ev.item
	it.failures++
	it.partition.failing.note(it.event.Offset, ev.at)
	it.firstFailed = it.partition.failing.of(it.event.Offset).First
	it.lastError = obligation.CutText(ev.err)
	s.endAttempt(ev.attempt)
	if it.partition.revoking {
		s.leaveLane(it)
		return
	}
	if it.failures == 1 {
		// The payload may be kept for long, and shares the memory of a whole fetch.
		it.event.Data = bytes.Clone(it.event.Data)
	}
	it.state = itemWaiting
	s.block(it)
	s.lanes.wait(it.lane)
	s.retrying++
	s.emit(armRetry{it, ev.wait})
	s.noteProgress(it.partition)
}

// onRetryDue makes the lane of an item runnable again. It ignores an item that was withdrawn while its timer fired.
func (s *scheduler) onRetryDue(ev retryDue) {
	if ev.item.state != itemWaiting {
		return
	}
	s.retrying--
	ev.item.state = itemQueued
	s.lanes.resume(ev.item.lane)
}

// endAttempt ends an item's attempt: a run effect had given the item out. The caller must call leaveLane, lanes.wait or
// lanes.giveBack for it next.
func (s *scheduler) endAttempt(a attempt) {
	if a.freeWorker {
		s.freeWorker(a.item)
	}
	p := a.item.partition
	p.out--
	if p.out == 0 && p.revoking && s.partitions[p.topicPartition] == p {
		s.becomeIdle(p)
	}
}

// freeWorker makes room for another handler run, if the item still counts as one of the workers.
func (s *scheduler) freeWorker(it *item) {
	s.endTurn(it.turn)
}

// endTurn makes room for another worker, if the turn still counts as one.
func (s *scheduler) endTurn(t *turn) {
	if t.atWork {
		t.atWork = false
		s.workers--
	}
}

// onEnded records several attempts that have succeeded, puts items back into their lanes, and frees a worker.
func (s *scheduler) onEnded(ev *ended) {
	for i := range ev.handled {
		if h := &ev.handled[i]; h.item != nil {
			s.onHandled(h)
			s.reuse(h.item)
		}
	}
	for _, it := range ev.returned {
		s.putBack(it)
	}
	if ev.free != nil {
		s.endTurn(ev.free)
	}
}

// putBack puts an item back into its lane that was given out and whose handler was not called. If its partition is being given up,
// or is lost, it leaves the lane instead.
func (s *scheduler) putBack(it *item) {
	if it.fold {
		it.fold, it.folded = false, false
	}
	s.endAttempt(attempt{item: it})
	if it.partition.revoking {
		s.leaveLane(it)
		return
	}
	it.state = itemQueued
	s.lanes.giveBack(it.lane)
}

// leaveLane removes an item that was given out from its lane. The item needs no further attempt in this instance.
func (s *scheduler) leaveLane(it *item) {
	it.state = itemGone
	s.release(it)
	s.lanes.done(it.lane)
	delete(s.blocked, it.lane)
	s.continueLane(it.lane)
}

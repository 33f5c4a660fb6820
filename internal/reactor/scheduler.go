package reactor

import "time"

// scheduler decides for one reaction which handler runs next, which events are folded, when fetching from a partition
// stops and resumes, and what a commit round writes. It is pure: it has no lock, no clock, no goroutine and no I/O.
// step takes an event and returns effects (events.go lists both). The driver, which is Reactor, performs the effects
// and calls step with its lock held. docs/glossary.md explains the terms lane, fold, gate, incarnation, mark, commit
// round and backlog.
//
// Invariants, between steps:
//
//   - Order. Events of one subject are handled one after the other, in the order in which they arrived. An event that
//     has failed is tried again before the next one is handled.
//   - Concurrency. 0 <= workers <= concurrency, and workers is the number of turns with atWork set. The worker of a turn
//     runs one handler at a time. Handlers that have run past their timeout do not count.
//   - Items. An item is in its partition's held, in its lane, or in neither, according to its state (itemState). After
//     each run effect exactly one event with its attempt follows, or an ended that returns the item. Until then the item is the
//     first of its lane, and is counted in out of its partition.
//   - Position. The committed position never passes an offset that has arrived and is not done (tracker). In one
//     incarnation an offset becomes done once. It is in the marks of one round or, if that round fails, of the next.
//   - Events without a handler. The offset of such an event becomes done only after the newest subscriptions were
//     looked at and none of them had its type. The look must have begun after the event had arrived.
//   - Gate. While a partition with state is replayed, no handler runs for any partition with the same number: items
//     that arrive from these partitions are held. In one incarnation each event is folded once, in the order of the
//     log within its subject: by a fold effect if the event was handled before, in its turn if events before it
//     are not folded yet, and otherwise with its first run.
//   - Revocation. No item of a partition that is being revoked, or is lost, is run, held, queued or waiting for its
//     next attempt. Items that were given out before may still finish, and are counted in out until the partition is
//     lost.
//   - Seeks. Nothing that becomes done in a partition after it was sealed is written down. The incarnation that follows
//     begins with what the seek has left done.
//   - Incarnations. partitions has the newest incarnation of each partition, and only while it is owned. Events of an
//     earlier incarnation do not change it.
//   - Rounds. At most one round is open.
//   - Memory. bytes is the sum over all items that are held or in lanes, and all backlogs. An event that has arrived
//     and is to be handled is an item, or is in the backlog of its lane; within a lane the backlog comes after all
//     items. A lane with a backlog and no item is in due, or in the refetch under way.
type scheduler struct {
	config

	partitions map[topicPartition]*partition
	lanes      *lanes[laneKey, *item]
	workers    int // number of turns with atWork set
	retrying   int // items that wait for their next attempt
	draining   bool
	stoodDown  bool // a standDown was emitted, and no rejoin came since
	ready      bool // becomeReady was emitted
	flushArmed bool // an armFlush was emitted, and no flushDue came since
	polling    bool // no pausePolling is in force
	roundOpen  bool
	round      []finished // the parts of the open round
	counts     counts
	pace       time.Duration // how long handlers take: a moving average over those that succeed

	bytes     int64 // memory that items and backlogs take (budget.go)
	heldBytes int64 // the part of bytes that held items take
	grown     bool  // items were added to memory, or to lanes, since the last saveMemory
	// blocked has the lanes whose first item is slow, past its timeout, or has failed, so that it may stay there for
	// long.
	blocked map[laneKey]bool

	// The fields below are about events whose payloads are not in memory (backlog.go). A lane is due if it has a
	// backlog and no item. A refetch reads the first events of the backlogs of all lanes that are due when it begins.
	backlogs   map[laneKey]*backlog
	inBacklogs int // number of events in all backlogs
	due        map[laneKey]bool
	// refetchAsked reports whether a wantRefetch was emitted, and no refetchBegun came since.
	refetchAsked bool
	// refetching has what the refetch under way has asked for; nil without a refetch.
	refetching map[refetchKey]*laneRefetch

	// notUnderstood has the records that were not understood since Reactor.TakeNotUnderstood was called last.
	notUnderstood map[topicPartition]*NotUnderstood

	spareItems  []*item  // zero ones, to be used again; at most maxSpareItems
	effects     []effect // effects of the step under way
	roundWanted bool     // one of them is a wantRound
}

// config is what a scheduler needs to know of its reaction.
type config struct {
	stateful    bool // a handler has a Fold
	concurrency int  // number of handlers that may run at a time, >= 1
	turn        int  // number of items that one worker is given at a time, at most; with 0 it is 1
	window      int  // number of identities to remember for each partition
	// budget is the number of bytes that unfinished events may take in memory. They may exceed it by what one step
	// takes in.
	budget int64
	limits
}

// limits bound the number of ranges of offsets that are done ahead of a partition's position; each range takes 16
// bytes. With more than maxAhead of them, fetching from the partition is paused until there are at most resumeAhead.
// The number is checked when a commit round begins, so it may exceed maxAhead by the ranges that are added between two
// rounds.
type limits struct {
	maxAhead, resumeAhead int
}

var defaultLimits = limits{maxAhead: 1 << 20, resumeAhead: 1 << 19}

// counts has the numbers of events that Stats returns, since the scheduler was made.
type counts struct {
	handled, retried, skipped, duplicates, unhandled, emitted int64

	notUnderstood int64 // among unhandled, records that claim to be CloudEvents and cannot be read as such
}

// newScheduler returns a scheduler without partitions.
func newScheduler(c config) *scheduler {
	return &scheduler{
		config:     c,
		partitions: make(map[topicPartition]*partition),
		lanes:      newLanes[laneKey, *item](laneKey.hash),
		polling:    true,
		pace:       turnTime,
		blocked:    make(map[laneKey]bool),
		backlogs:   make(map[laneKey]*backlog),
		due:        make(map[laneKey]bool),

		notUnderstood: make(map[topicPartition]*NotUnderstood),
	}
}

// step applies one event and returns the effects to be performed. The slice is valid until the next step.
func (s *scheduler) step(ev event) []effect {
	clear(s.effects)
	s.effects = s.effects[:0]
	s.roundWanted = false
	switch ev := ev.(type) {
	case assigned:
		s.onAssigned(ev)
	case arrived:
		s.onArrived(ev)
	case handled:
		s.onHandled(&ev)
	case *ended:
		s.onEnded(ev)
	case skipped:
		s.onSkipped(ev)
	case failed:
		s.onFailed(ev)
	case abandoned:
		s.endAttempt(ev.attempt)
		s.leaveLane(ev.item)
	case workerFree:
		s.freeWorker(ev.item)
	case timedOut:
		s.freeWorker(ev.item)
		s.block(ev.item)
	case slow:
		s.block(ev.item)
	case retryDue:
		s.onRetryDue(ev)
	case flushDue:
		s.onFlushDue()
	case drain:
		s.draining = true
	case passBegun:
		s.onPassBegun()
	case passEnded:
		s.onPassEnded(ev)
	case rejoin:
		s.draining, s.stoodDown = false, false
	case revoke:
		s.onRevoke(ev)
	case lost:
		s.onLost(ev)
	case seal:
		s.onSeal(ev)
	case moved:
		s.onMoved(ev)
	case roundBegun:
		s.onRoundBegun(ev)
	case roundEnded:
		s.onRoundEnded(ev)
	case refetchBegun:
		s.onRefetchBegun()
	case refetched:
		s.onRefetched(ev)
	case refetchEnded:
		s.onRefetchEnded()
	case renew:
		s.onRenew()
	}
	s.saveMemory()
	s.startRuns()
	s.balanceMemory()
	return s.effects
}

// emit adds an effect to those that the step under way returns.
func (s *scheduler) emit(e effect) { s.effects = append(s.effects, e) }

// startRuns emits a run for the items whose turn it is, until concurrency workers are busy.
func (s *scheduler) startRuns() {
	for s.workers < s.concurrency {
		it := s.nextToRun()
		if it == nil {
			return
		}
		t := &turn{atWork: true}
		s.workers++
		s.giveOut(it, t)
		for range s.turnItems() - 1 {
			if it = s.nextToRun(); it == nil {
				return
			}
			s.giveOut(it, t)
		}
	}
}

// nextToRun returns the next item whose handler is to be called, which is given out then, or nil if there is none. It folds the items
// before it that are only to be folded.
func (s *scheduler) nextToRun() *item {
	for {
		it, ok := s.lanes.next()
		if !ok {
			return nil
		}
		if !it.foldOnly {
			return it
		}
		s.foldQueued(it)
	}
}

// giveOut emits the run of an item in a turn.
func (s *scheduler) giveOut(it *item, t *turn) {
	it.partition.out++
	it.state, it.turn = itemOut, t
	it.fold = it.handler.Fold != nil && !it.folded
	it.folded = true
	s.emit(run{it})
}

const (
	// turnTime is how long the handlers of one turn are meant to take together.
	turnTime time.Duration = 200e3 // in nanoseconds
	// paceWeight is about the number of events of which pace is the average: each event moves pace by 1/paceWeight of the difference.
	paceWeight = 8
)

// turnItems returns the number of items that the next turn may have. It is 1 unless handlers are so fast that handing
// them out one at a time would cost more than they do, and more lanes are ready than there are workers.
func (s *scheduler) turnItems() int {
	n := min(s.turn, 1+s.lanes.ready()/s.concurrency)
	if n > 1 && s.pace > 0 {
		n = min(n, int(turnTime/s.pace))
	}
	return n
}

// balanceFetching emits a pauseFetch or a resumeFetch for p if p's full and heavy call for it.
func (s *scheduler) balanceFetching(p *partition) {
	switch stop := p.full || p.heavy; {
	case p.revoking:
	case !p.paused && stop:
		p.paused = true
		s.emit(pauseFetch{p.topicPartition, p.full, p.tracker.position})
	case p.paused && !stop:
		p.paused = false
		s.emit(resumeFetch{p.topicPartition})
	}
}

// waiting returns the number of events that have arrived and are to be handled, or only folded: those in lanes, given
// out or not, in backlogs, behind a gate, and behind withheld events.
func (s *scheduler) waiting() int {
	n := s.lanes.queued + s.inBacklogs
	for _, p := range s.partitions {
		n += len(p.held) + len(p.withheld.behind) + len(p.passing.behind)
	}
	return n
}

// owned returns the partition with this incarnation, or nil if that is lost. A partition that is being revoked is
// still owned.
func (s *scheduler) owned(i incarnation) *partition {
	for _, p := range s.partitions {
		if p.incarnation == i {
			return p
		}
	}
	return nil
}

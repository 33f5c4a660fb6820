package reactor

import (
	"fmt"
	"time"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/offsets"
)

// topicPartition names a partition of the log.
type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s/%d", tp.topic, tp.partition) }

// incarnation identifies one assignment of a partition to this instance. It is greater than 0 and grows with each
// assignment, so a partition that is lost and comes back has another incarnation.
type incarnation int64

// An event is something that happened, which the driver reports to the scheduler; an effect is something that the
// scheduler wants the driver to do. The scheduler has no clock: events carry the times that it needs.
type (
	event  interface{ event() }
	effect interface{ effect() }
)

// The events. Each is described by what has happened.
type (
	// assigned: the group has given partitions to this instance; there may be none. A partition that this instance has
	// already is assigned anew, and its earlier incarnation is lost. If the reaction has state over several topics,
	// all partitions of one number are assigned and lost together, because states belong to the number.
	assigned struct{ partitions []assignment }

	// arrived: records were fetched from a partition, in the order of their offsets. The scheduler copies what it
	// keeps of them.
	arrived struct {
		topicPartition
		records []record
	}

	// handled: a handler has succeeded, and the events that it emitted are durable.
	handled struct {
		attempt
		started, finished time.Time // of the call of the handler
		emitted           int       // number of emitted events
		through           []reached // where in the log the emitted events are
	}

	// ended: several things have happened at the same time.
	ended struct {
		// handled has attempts that have succeeded, as in a handled of its own. Those without an item are ignored.
		handled []handled
		// returned has items that were given out and whose handlers were not called, because the one before them in
		// their turn takes long, or because partitions are given up.
		returned []*item
		// free is the turn whose worker is free now; nil if there is none. The ends of its other attempts were reported,
		// or will be.
		free *turn
	}

	// skipped: a handler has returned Skip, so that its event counts as done without being handled.
	skipped struct {
		attempt
		reason  string
		at      time.Time
		through []reached // as in handled
	}

	// failed: a handler has failed, or an event that it emitted could not be appended. The next attempt is due after
	// wait.
	failed struct {
		attempt
		err  string
		at   time.Time // when the attempt ended
		wait time.Duration
	}

	// abandoned: the item's handler was not run, because its partition was lost.
	abandoned struct{ attempt }

	// workerFree: the handler that a worker ran has returned, and the worker is free. The end of the attempt is
	// reported later, when the emitted events are durable.
	workerFree struct{ item *item }

	// timedOut: the handler of an item has run past its timeout and has not returned. It no longer counts as one of
	// the workers.
	timedOut struct{ item *item }

	// slow: the handler of an item has been running for longer than its Slow.
	slow struct{ item *item }

	// retryDue: the wait of an armRetry for the item is over.
	retryDue struct{ item *item }

	// flushDue: the wait of an armFlush is over.
	flushDue struct{}

	// drain: the reaction ends its session of the group, so that no more records are taken in.
	drain struct{}

	// revoke: partitions are about to be given up. None of their items is begun any more. Incarnations that are not
	// owned are ignored.
	revoke struct{ incarnations []incarnation }

	// lost: partitions were given up, or were taken away by the group. Attempts that still run for them have no effect
	// any more.
	lost struct{ incarnations []incarnation }

	// seal: a seek is about to move these partitions, which are being revoked. From now on results of their handlers are
	// ignored, and no round includes them. They are owned until moved or lost is reported. No round may be open, and
	// everything of them that is done must have been marked.
	seal struct{ incarnations []incarnation }

	// moved: a seek has moved partitions that were sealed. Each is lost in its incarnation so far, and assigned in a new
	// one, at the offsets of its assignment. With state over several topics, all partitions of one number are moved
	// together.
	moved struct{ partitions []assignment }

	// roundBegun: a commit round is to begin, for the given partitions, or, if of is nil, for all partitions with
	// something urgent. No other round may be open. If there is nothing to write, the scheduler emits no commit, and
	// the driver must not report roundEnded. With progress, the round also writes the progress of the partitions and
	// their failing events.
	roundBegun struct {
		of       []incarnation
		progress bool
	}

	// passBegun: the newest subscriptions are about to be read, to find out which events without a handler may be
	// passed over. If there are no such events, the scheduler emits no checkTypes, and the driver must not report
	// passEnded.
	passBegun struct{}

	// passEnded: the subscriptions that a checkTypes has asked for were read. named reports whether a subscription has
	// a type; it is nil if reading them has failed.
	passEnded struct{ named func(topic, typ string) bool }

	// rejoin: the instance is about to join its group again after a session, and has no partitions.
	rejoin struct{}

	// refetchBegun: payloads that were dropped are about to be read again. No other refetch may be under way. If there
	// is nothing to read, the scheduler emits no refetch, and the driver must not report refetchEnded.
	refetchBegun struct{}

	// refetched: records of one partition that a refetch has asked for, in the order of their offsets. Offsets below
	// through that were asked for and are not among the records are not in the log any more. There may be several of
	// these events for one partition.
	refetched struct {
		incarnation incarnation
		records     []record
		through     int64
	}

	// refetchEnded: the refetch is over.
	refetchEnded struct{}

	// renew: all positions are to be committed again.
	renew struct{}

	// roundEnded: the open round is over. If marked is false, nothing of the round counts as written, and all of it
	// belongs to the next round. Otherwise the marks are durable, and only the positions in uncommitted must be
	// committed again.
	roundEnded struct {
		marked      bool
		marksEnd    int64 // an offset of tidings.reactions; the marks of the round are below it
		uncommitted []incarnation
	}
)

// attempt is part of each event that reports the end of an attempt to handle an item. For each run effect there is
// exactly one such event, or an ended that returns the item.
type attempt struct {
	item       *item
	freeWorker bool // the worker that ran the attempt reports its end, its turn is over, and it is free now
}

// assignment says where a partition that the group has given to this instance is taken up.
type assignment struct {
	topicPartition
	incarnation incarnation
	position    int64   // the committed position: no event below it is handled
	epoch       int64   // number of the last seek
	leader      int32   // leader epoch of the newest record that was read when the position was committed; -1 if it is not known
	topicID     topicID // of its topic
	// failing has the events whose attempts have failed in earlier incarnations. The scheduler owns it once the
	// assignment is passed on.
	failing map[int64]failure
	// marksFrom is an offset of tidings.reactions: everything that was done ahead of position is known without the
	// marks from there on.
	marksFrom int64
	// ahead has the offsets above position that are done. The scheduler owns it once the assignment is passed on.
	ahead      offsets.Set
	replayFrom int64 // where fetching begins; 0 <= replayFrom <= position

	// identityFrom is the offset from which on the ids of emissions are derived from the identity of their cause;
	// below it they are derived from the cause's id alone.
	identityFrom int64
}

// record is a fetched record in the form that the scheduler takes.
type record struct {
	cloudevent.Event                     // of a control record only topic, partition and offset are set
	identity         cloudevent.Identity // of the event
	control          bool                // a control record of a transaction, which holds no event
	handler          *Handler            // nil if the reaction does not handle events of this type
	leader           int32               // leader epoch; -1 if the log knows none
	// since is the offset from which on the reaction is subscribed to the event's type in this partition; 0 unless the
	// type was added later. An event below it is not handled, unless the position was moved by a seek since: after a
	// seek, all events that are read again are handled.
	since int64
}

// newRecord returns the record of an event. h is nil if the reaction does not handle the event.
func newRecord(e cloudevent.Event, h *Handler) record {
	e.KeepIdentity()
	return record{Event: e, identity: e.Identity(), handler: h, leader: -1}
}

// refetchPart has the offsets that a refetch reads of one partition.
type refetchPart struct {
	topicPartition
	incarnation incarnation
	offsets     []int64 // ascending, at least one
}

// The effects. The driver must perform them in order, before those of the next step. Each is described by what the
// driver has to do.
type (
	// run: have a worker run the item's handler once, and report the end of the attempt by handled, skipped, failed or
	// abandoned, or return the item with ended. With fold, fold the item's event before. Runs with the
	// same turn, which follow each other, are for one worker, one after the other.
	run struct{ *item }

	// fold: fold an event that is not to be handled. The event is valid until the caller of the step that returned it
	// returns.
	fold struct {
		handler *Handler
		event   *cloudevent.Event
	}

	// pauseFetch and resumeFetch: stop, and begin again, to fetch records from a partition. full means that as many
	// offsets above the partition's position are done as may be kept in memory.
	pauseFetch struct {
		topicPartition
		full     bool
		position int64
	}
	resumeFetch struct{ topicPartition }

	// wentBack: begin a new session, since a record at an offset has come in place of another, and the log has lost what was read up
	// to the offset read.
	wentBack struct {
		topicPartition
		at, read int64
	}

	// pausePolling and resumePolling: stop, and begin again, to poll for records of any partition.
	pausePolling  struct{}
	resumePolling struct{}

	// armRetry: report retryDue after wait, unless disarmRetry is emitted for the item before.
	armRetry struct {
		item *item
		wait time.Duration
	}
	disarmRetry struct{ item *item }

	// armFlush: report flushDue after unhandledCommit.
	armFlush struct{}

	// wantRound: begin a commit round soon, with roundBegun.
	wantRound struct{}

	// wantRefetch: begin a refetch soon, with refetchBegun.
	wantRefetch struct{}

	// refetch: read the records at these offsets. The driver owns the slices.
	refetch struct{ parts []refetchPart }

	// commit: write these parts, which make up the round that has begun. The committer owns them.
	commit struct{ parts []finished }

	// checkTypes: read the newest subscriptions and report passEnded.
	checkTypes struct{}

	// standDown: leave the group and stand by, because the newest subscription of the topic has these types (sorted),
	// for which this instance has no handler. The scheduler takes in no records until rejoin.
	standDown struct {
		topic string
		types []string
	}

	// becomeReady: the reaction is ready. No partition that it owns is still replayed for its state. The effect is
	// emitted once.
	becomeReady struct{}

	// becomeIdle: no item of a partition that is being revoked is given out any more, or the partition is lost. The
	// effect is emitted once for each incarnation that is revoked.
	becomeIdle struct{ incarnation incarnation }

	// forget: an incarnation is lost; cancel those of its handlers that still run.
	forget struct{ incarnation incarnation }

	// dropState: no partition of this number is owned any more; drop the states of the number.
	dropState struct{ partition int32 }
)

func (assigned) event()     {}
func (arrived) event()      {}
func (handled) event()      {}
func (*ended) event()       {}
func (skipped) event()      {}
func (failed) event()       {}
func (abandoned) event()    {}
func (workerFree) event()   {}
func (timedOut) event()     {}
func (slow) event()         {}
func (refetchBegun) event() {}
func (refetched) event()    {}
func (refetchEnded) event() {}
func (renew) event()        {}
func (retryDue) event()     {}
func (flushDue) event()     {}
func (drain) event()        {}
func (revoke) event()       {}
func (lost) event()         {}
func (seal) event()         {}
func (moved) event()        {}
func (roundBegun) event()   {}
func (roundEnded) event()   {}
func (passBegun) event()    {}
func (passEnded) event()    {}
func (rejoin) event()       {}

func (run) effect()           {}
func (fold) effect()          {}
func (pauseFetch) effect()    {}
func (resumeFetch) effect()   {}
func (pausePolling) effect()  {}
func (resumePolling) effect() {}
func (wentBack) effect()      {}
func (armRetry) effect()      {}
func (disarmRetry) effect()   {}
func (armFlush) effect()      {}
func (wantRound) effect()     {}
func (wantRefetch) effect()   {}
func (refetch) effect()       {}
func (commit) effect()        {}
func (checkTypes) effect()    {}
func (standDown) effect()     {}
func (becomeReady) effect()   {}
func (becomeIdle) effect()    {}
func (forget) effect()        {}
func (dropState) effect()     {}

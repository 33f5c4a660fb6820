package txn

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Options are the settings of a coordinator. A field that is zero has the default named beside it.
type Options struct {
	MaxTimeout time.Duration // the longest timeout that a transaction may have; default 15 min
	// IDExpiration is how long a transactional id is kept without a transaction. Default 7 days; negative means for
	// ever.
	IDExpiration time.Duration
	MaxBytes     int64 // memory of all transactional ids and of what is in their transactions, about; default 64 MiB
}

// WithDefaults returns o with the default in place of each zero value.
func (o Options) WithDefaults() Options {
	o.MaxTimeout = cmp.Or(o.MaxTimeout, 15*time.Minute)
	o.IDExpiration = cmp.Or(o.IDExpiration, 7*24*time.Hour)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	return o
}

// lastEpoch is the highest epoch that a client is given. The one above it is left for the broker, which raises the epoch
// when it aborts a transaction by itself.
const lastEpoch = math.MaxInt16 - 1

// Outcome is how the last transaction of a transactional id ended.
type Outcome uint8

const (
	NoOutcome Outcome = iota // there was none since the last InitProducerId
	Committed
	Aborted
)

// outcomeOf returns the Outcome of an end.
func outcomeOf(commit bool) Outcome {
	if commit {
		return Committed
	}
	return Aborted
}

// Coordinator has the transactional ids, with their producers and open transactions. [NewCoordinator] makes one. It is
// not safe for concurrent use: the engine holds one lock around all calls.
//
// The state of a transactional id is what the journal has (durable), and one step ahead of it while a record is on its
// way (pending). Requests meanwhile are refused with ErrConcurrent. Which partitions and groups are in a transaction
// is recorded only for the old protocol; otherwise the log and the groups know it, and tell it after a restart (Found,
// FoundGroup).
//
// Invariants between two steps:
//
//   - durable is the content of the last record of the id whose Persisted came without error.
//   - a transaction is open exactly if open is not nil, and then its producer is durable.producer.
//   - deadline is at or before the earliest time at which a Tick has something to do.
type Coordinator struct {
	o   Options
	ids map[string]*transactionalID
	// found is what recovery has found in logs and groups. After Resume it is what of that belongs to no transactional
	// id and is not ended yet.
	found    map[Producer]*openTransaction
	inFlight map[uint64]func(now time.Time, err error)
	lastSeq  uint64
	deadline time.Time // zero: none
	bytes    int64     // memory of ids
	out      []Effect  // effects of the present step
}

// transactionalID is the state of one transactional id.
type transactionalID struct {
	id      string
	durable state
	open    *openTransaction
	pending pending
}

// pending says what the record of an id that is on its way to the journal does.
type pending uint8

const (
	nothing   pending = iota
	adding            // adds partitions or groups
	changing          // takes a new producer, or removes the id
	finishing         // ends the transaction
)

// state is the durable state of a transactional id, without its open transaction.
type state struct {
	producer Producer
	// previous is the producer that a client may still have whose request made it the present one, but whose answer is
	// lost. NoProducer means that all others are fenced.
	previous Producer
	timeout  time.Duration
	outcome  Outcome
	updated  time.Time // when the record was made
	// partitions and groups were added by the old protocol and are in the open transaction. They are sorted.
	partitions []Partition
	groups     []string
}

// openTransaction is what is in an open transaction.
type openTransaction struct {
	partitions map[Partition]bool
	groups     map[string]bool
	began      time.Time
	deadline   time.Time
	bytes      int64
	commit     bool // while the end is pending: how it ends
	ending     bool // it is in Coordinator.found, and its end is pending
}

func newTransaction() *openTransaction {
	return &openTransaction{partitions: map[Partition]bool{}, groups: map[string]bool{}}
}

// NewCoordinator returns an empty coordinator. The caller restores its state before the first Step: it calls Load if
// there is a snapshot, ApplyRecord for each later record of the journal, Found and FoundGroup for what is open, and then
// Resume.
func NewCoordinator(o Options) *Coordinator {
	return &Coordinator{
		o:        o.WithDefaults(),
		ids:      map[string]*transactionalID{},
		found:    map[Producer]*openTransaction{},
		inFlight: map[uint64]func(time.Time, error){},
	}
}

// Step handles one event and returns the effects that the engine must perform, in order. now must not be earlier than
// in a call before. The caller owns the slice.
func (c *Coordinator) Step(now time.Time, ev Event) []Effect {
	switch ev := ev.(type) {
	case Init:
		c.onInit(now, ev)
	case Add:
		c.onAdd(now, ev)
	case End:
		c.onEnd(now, ev)
	case Tick:
		c.onTick(now)
	case Persisted:
		done := c.inFlight[ev.Seq]
		delete(c.inFlight, ev.Seq)
		done(now, ev.Err)
	}
	out := c.out
	c.out = nil
	return out
}

func (c *Coordinator) reply(t Ticket, response any) {
	c.out = append(c.out, Reply{Ticket: t, Response: response})
}

// change adds to the effects of the step that the durable state of t becomes next, and calls done when that is durable or has
// failed. If finish is not nil, the change ends the open transaction as finish says; its Seq and Record are set here.
// done must not call change, because the goroutine that commits the journal may run that step.
func (c *Coordinator) change(t *transactionalID, what pending, next state, finish *Finish, done func(now time.Time, err error)) {
	t.pending = what
	record := encodeState(t.id, next)
	seq := c.await(func(now time.Time, err error) {
		t.pending = nothing
		if err == nil {
			c.bytes += sizeOfState(next) - sizeOfState(t.durable)
			t.durable = next
			if finish != nil {
				c.bytes -= t.open.bytes
				t.open = nil
			}
		}
		if t.open != nil && !t.open.deadline.After(now) {
			// The transaction was to end and has not. It is tried again after a pause.
			t.open.deadline = now.Add(retryAfter)
		}
		done(now, err)
		c.wakeFor(t)
	})
	if finish == nil {
		c.out = append(c.out, Persist{Seq: seq, Record: record})
		return
	}
	t.open.commit = finish.Commit
	finish.Seq, finish.Record = seq, record
	c.out = append(c.out, *finish)
}

// retryAfter is the time after which an end that the journal has refused is tried again.
const retryAfter = time.Second

// await returns the Seq of a new effect, for whose Persisted done is called.
func (c *Coordinator) await(done func(now time.Time, err error)) uint64 {
	c.lastSeq++
	c.inFlight[c.lastSeq] = done
	return c.lastSeq
}

// finishOf returns a Finish of the open transaction of t. If raise is true, the markers have the next epoch.
func (t *transactionalID) finishOf(commit, raise bool) *Finish {
	f := t.open.finish(t.durable.producer, commit)
	if raise {
		f.Epoch++
	}
	return f
}

// finish returns a Finish of what the producer has in o.
func (o *openTransaction) finish(p Producer, commit bool) *Finish {
	return &Finish{
		Producer: p, Epoch: p.Epoch, Commit: commit,
		Partitions: slices.SortedFunc(maps.Keys(o.partitions), comparePartitions),
		Groups:     slices.Sorted(maps.Keys(o.groups)),
	}
}

// comparePartitions compares partitions by topic, then by number.
func comparePartitions(a, b Partition) int {
	return cmp.Or(slices.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Index, b.Index))
}

// begin opens a transaction of t, which has none.
func (c *Coordinator) begin(now time.Time, t *transactionalID) {
	t.open = newTransaction()
	t.open.began, t.open.deadline = now, now.Add(t.durable.timeout)
	c.wakeFor(t)
}

// Memory in bytes, about, of a transactional id without the id itself and of a partition in an open transaction.
const (
	idBytes        = 400
	partitionBytes = 64
)

func sizeOfState(s state) int64 {
	n := int64(len(s.partitions)) * partitionBytes
	for _, g := range s.groups {
		n += partitionBytes + int64(len(g))
	}
	return n
}

// addPartition puts a partition into the open transaction of t.
func (c *Coordinator) addPartition(t *transactionalID, p Partition) {
	if !t.open.partitions[p] {
		t.open.partitions[p] = true
		c.charge(t, partitionBytes)
	}
}

// addGroup puts a group into the open transaction of t.
func (c *Coordinator) addGroup(t *transactionalID, group string) {
	if !t.open.groups[group] {
		t.open.groups[group] = true
		c.charge(t, partitionBytes+int64(len(group)))
	}
}

func (c *Coordinator) charge(t *transactionalID, bytes int64) {
	t.open.bytes += bytes
	c.bytes += bytes
}

// hasRoom reports whether bytes more of memory may be used.
func (c *Coordinator) hasRoom(bytes int64) bool { return c.bytes+bytes <= c.o.MaxBytes }

// Bytes returns the memory of transactional ids and transactions, about.
func (c *Coordinator) Bytes() int64 { return c.bytes }

// wakeFor moves the deadline forward to that of t, if it is earlier.
func (c *Coordinator) wakeFor(t *transactionalID) {
	if at := c.deadlineOf(t); !at.IsZero() {
		c.wakeAt(at)
	}
}

func (c *Coordinator) wakeAt(at time.Time) {
	if c.deadline.IsZero() || at.Before(c.deadline) {
		c.deadline = at
	}
}

// deadlineOf returns when a Tick has something to do for t: when its transaction times out, or when it expires. It is
// zero if never.
func (c *Coordinator) deadlineOf(t *transactionalID) time.Time {
	switch {
	case t.open != nil:
		return t.open.deadline
	case c.o.IDExpiration < 0:
		return time.Time{}
	}
	return t.durable.updated.Add(c.o.IDExpiration)
}

// NextDeadline returns the time at which the next Tick is due, or false if none is due. The result may change with each
// Step and each admission.
func (c *Coordinator) NextDeadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// onTick aborts transactions that have timed out, and removes transactional ids that have expired.
func (c *Coordinator) onTick(now time.Time) {
	if c.deadline.IsZero() || now.Before(c.deadline) {
		return
	}
	c.deadline = time.Time{}
	c.endOrphans()
	for _, t := range c.inOrder() {
		switch at := c.deadlineOf(t); {
		case at.IsZero() || t.pending != nothing: // the Persisted sets the deadline again
		case now.Before(at):
			c.wakeFor(t)
		case t.open != nil:
			c.abort(now, t)
		default:
			c.expire(t)
		}
	}
}

// abort ends the open transaction of t on behalf of the broker. The epoch is raised, so that batches which are still on
// their way are refused, and the producer can go on with it.
func (c *Coordinator) abort(now time.Time, t *transactionalID) {
	next := t.durable.ended(now, Aborted)
	next.previous = next.producer
	next.producer.Epoch++
	c.change(t, finishing, next, t.finishOf(false, true), func(time.Time, error) {})
}

// ended returns the state after the end of a transaction, with the same producer.
func (s state) ended(now time.Time, outcome Outcome) state {
	s.outcome, s.updated, s.partitions, s.groups = outcome, millis(now), nil, nil
	return s
}

// millis returns t as a record can have it.
func millis(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()) }

// expire removes a transactional id.
func (c *Coordinator) expire(t *transactionalID) {
	t.pending = changing
	seq := c.await(func(now time.Time, err error) {
		if t.pending = nothing; err == nil {
			c.remove(t)
			return
		}
		t.durable.updated = millis(now.Add(retryAfter - c.o.IDExpiration)) // it is tried again after a pause
		c.wakeFor(t)
	})
	c.out = append(c.out, Persist{Seq: seq, Record: encodeRemoved(t.id)})
}

// remove forgets a transactional id, which has no open transaction.
func (c *Coordinator) remove(t *transactionalID) {
	delete(c.ids, t.id)
	c.bytes -= idBytes + int64(len(t.id)) + sizeOfState(t.durable)
}

// put adds a transactional id with this state, or replaces its state.
func (c *Coordinator) put(id string, s state) *transactionalID {
	t := c.ids[id]
	if t == nil {
		t = &transactionalID{id: id}
		c.ids[id] = t
		c.bytes += idBytes + int64(len(id))
	}
	c.bytes += sizeOfState(s) - sizeOfState(t.durable)
	t.durable = s
	return t
}

// inOrder returns the transactional ids in the order of their names.
func (c *Coordinator) inOrder() []*transactionalID {
	return slices.SortedFunc(maps.Values(c.ids), func(a, b *transactionalID) int { return strings.Compare(a.id, b.id) })
}

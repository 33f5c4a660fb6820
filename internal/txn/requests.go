package txn

import (
	"slices"
	"time"
)

// onInit gives a client the producer of a transactional id.
func (c *Coordinator) onInit(now time.Time, ev Init) {
	refuse := func(err error) { c.reply(ev.Ticket, ProducerResponse{Err: err, Producer: NoProducer}) }
	t := c.ids[ev.ID]
	switch {
	case ev.ID == "":
		refuse(ErrInvalidID)
		return
	case ev.Timeout <= 0 || ev.Timeout > c.o.MaxTimeout:
		refuse(ErrInvalidTimeout)
		return
	case t == nil && ev.NewID < 0:
		refuse(ErrNeedsProducerID)
		return
	case t == nil && !c.hasRoom(idBytes+int64(len(ev.ID))):
		refuse(ErrNoRoom)
		return
	case t == nil:
		c.create(now, ev)
		return
	case t.pending != nothing:
		refuse(ErrConcurrent)
		return
	}
	next, err := t.durable.initialized(now, ev, t.open != nil)
	if err != nil {
		refuse(err)
		return
	}
	if next.producer == t.durable.producer { // the answer to an earlier request was lost
		c.reply(ev.Ticket, ProducerResponse{Producer: next.producer})
		return
	}
	what, finish := changing, (*Finish)(nil)
	if t.open != nil {
		what, finish = finishing, t.finishOf(false, true)
	}
	c.change(t, what, next, finish, c.answerProducer(ev.Ticket, next.producer))
}

// create adds a transactional id that is not known. An expected producer is taken for one whose transactional id has
// expired, and gets a new producer id.
func (c *Coordinator) create(now time.Time, ev Init) {
	first := state{producer: Producer{ID: ev.NewID}, previous: NoProducer, timeout: ev.Timeout, updated: millis(now)}
	t := c.put(ev.ID, state{producer: NoProducer, previous: NoProducer, timeout: ev.Timeout, updated: first.updated})
	answer := c.answerProducer(ev.Ticket, first.producer)
	c.change(t, changing, first, nil, func(now time.Time, err error) {
		if err != nil {
			c.remove(t)
		}
		answer(now, err)
	})
}

// answerProducer returns a function that answers a request with p, or with the error of the journal.
func (c *Coordinator) answerProducer(ticket Ticket, p Producer) func(time.Time, error) {
	return func(_ time.Time, err error) {
		if err != nil {
			p = NoProducer
		}
		c.reply(ticket, ProducerResponse{Err: err, Producer: p})
	}
}

// initialized returns the state after an Init. It has the same producer if the Init is one whose answer was lost. open
// reports whether a transaction is open.
func (s state) initialized(now time.Time, ev Init, open bool) (state, error) {
	expected := ev.Expected
	switch {
	case expected == NoProducer || expected == s.producer:
	case expected == s.previous && !open && s.producer.Epoch <= lastEpoch:
		// Who has the previous producer does not know the present one, so it cannot have begun a transaction with it.
		return s, nil
	case expected == s.previous && !open:
	default:
		return s, ErrInvalidProducerEpoch
	}
	next := state{previous: expected, timeout: ev.Timeout, updated: millis(now)}
	var err error
	next.producer, err = s.producer.raised(ev.NewID)
	return next, err
}

// raised returns the producer with the next epoch, or newID with epoch 0 if the epochs are used up.
func (p Producer) raised(newID int64) (Producer, error) {
	switch {
	case p.Epoch < lastEpoch:
		return Producer{p.ID, p.Epoch + 1}, nil
	case newID < 0:
		return NoProducer, ErrNeedsProducerID
	}
	return Producer{ID: newID}, nil
}

// find returns the transactional id of a request by this producer, or why the request is refused.
func (c *Coordinator) find(id string, p Producer) (*transactionalID, error) {
	t := c.ids[id]
	switch {
	case id == "":
		return nil, ErrInvalidID
	case t == nil || p.ID < 0:
		return nil, ErrProducerMapping
	case t.pending == changing || t.pending == finishing:
		return nil, ErrConcurrent
	case t.durable.producer.ID != p.ID && t.durable.previous.ID != p.ID:
		return nil, ErrProducerMapping
	}
	return t, nil
}

// findCurrent does what find does, and refuses every producer but the present one.
func (c *Coordinator) findCurrent(id string, p Producer) (*transactionalID, error) {
	t, err := c.find(id, p)
	switch {
	case err != nil:
		return nil, err
	case t.durable.producer.ID != p.ID:
		return nil, ErrProducerMapping
	case t.durable.producer.Epoch != p.Epoch:
		return nil, ErrInvalidProducerEpoch
	}
	return t, nil
}

// onAdd adds partitions and groups to a transaction by the old protocol.
func (c *Coordinator) onAdd(now time.Time, ev Add) {
	t, err := c.findCurrent(ev.ID, ev.Producer)
	if err == nil && t.pending != nothing {
		err = ErrConcurrent
	}
	if err != nil {
		c.reply(ev.Ticket, AddResponse{err})
		return
	}
	next := t.durable
	for _, p := range ev.Partitions {
		if i, has := slices.BinarySearchFunc(next.partitions, p, comparePartitions); !has {
			next.partitions = slices.Insert(slices.Clone(next.partitions), i, p)
		}
	}
	for _, g := range ev.Groups {
		if i, has := slices.BinarySearch(next.groups, g); !has {
			next.groups = slices.Insert(slices.Clone(next.groups), i, g)
		}
	}
	grown := sizeOfState(next) - sizeOfState(t.durable)
	switch {
	case grown == 0:
		c.reply(ev.Ticket, AddResponse{})
		return
	case !c.hasRoom(2 * grown):
		c.reply(ev.Ticket, AddResponse{ErrNoRoom})
		return
	}
	next.updated = millis(now)
	c.change(t, adding, next, nil, func(now time.Time, err error) {
		if err == nil {
			if t.open == nil {
				c.begin(now, t)
			}
			c.addRecorded(t)
		}
		c.reply(ev.Ticket, AddResponse{err})
	})
}

// addRecorded puts the partitions and groups that are on record into the open transaction of t.
func (c *Coordinator) addRecorded(t *transactionalID) {
	for _, p := range t.durable.partitions {
		c.addPartition(t, p)
	}
	for _, g := range t.durable.groups {
		c.addGroup(t, g)
	}
}

// onEnd commits or aborts a transaction. An end that comes late must not end the next transaction (trap 8 of
// docs/kafka-traps.md), and an abort without records must not fence its producer (trap 28).
func (c *Coordinator) onEnd(now time.Time, ev End) {
	refuse := func(err error) { c.reply(ev.Ticket, ProducerResponse{Err: err, Producer: NoProducer}) }
	t, err := c.find(ev.ID, ev.Producer)
	switch {
	case err != nil:
		refuse(err)
		return
	case t.pending != nothing:
		refuse(ErrConcurrent)
		return
	}
	outcome := outcomeOf(ev.Commit)
	switch current := t.durable.producer == ev.Producer; {
	case !current && ev.RaiseEpoch && t.open == nil && ev.Producer == t.durable.previous && t.durable.outcome != NoOutcome:
		// The end has raised the epoch, or the broker has aborted the transaction.
		if outcome != t.durable.outcome {
			refuse(ErrInvalidState)
			return
		}
		c.reply(ev.Ticket, ProducerResponse{Producer: t.durable.producer})
		return
	case t.durable.producer.ID != ev.Producer.ID:
		refuse(ErrProducerMapping)
		return
	case !current:
		refuse(ErrInvalidProducerEpoch)
		return
	case t.open == nil && !ev.RaiseEpoch && outcome == t.durable.outcome: // sent again
		c.reply(ev.Ticket, ProducerResponse{Producer: t.durable.producer})
		return
	case t.open == nil && (ev.Commit || !ev.RaiseEpoch):
		refuse(ErrInvalidState)
		return
	}
	c.end(now, t, ev)
}

// end ends the transaction of t, or, if none is open, raises the epoch as the end of an empty one does.
func (c *Coordinator) end(now time.Time, t *transactionalID, ev End) {
	next := t.durable.ended(now, outcomeOf(ev.Commit))
	next.previous = NoProducer
	if ev.RaiseEpoch {
		var err error
		if next.producer, err = t.durable.producer.raised(ev.NewID); err != nil {
			c.reply(ev.Ticket, ProducerResponse{Err: err, Producer: NoProducer})
			return
		}
		next.previous = ev.Producer
	}
	answer := c.answerProducer(ev.Ticket, next.producer)
	if t.open == nil {
		c.change(t, changing, next, nil, answer)
		return
	}
	c.change(t, finishing, next, t.finishOf(ev.Commit, ev.RaiseEpoch), answer)
}

// Admit returns nil if a batch of the producer p may be appended to a partition as a part of the transaction of a
// transactional id, and puts the partition into it. If begin is true, the batch may add the partition, and begin the
// transaction (Produce from version 12 on); else the partition must have been added. The engine holds the partition's
// lock from before this call until the batch is queued, so that no batch can follow the marker of its transaction.
func (c *Coordinator) Admit(now time.Time, id string, p Producer, to Partition, begin bool) error {
	t, err := c.findCurrent(id, p)
	switch {
	case err != nil:
		return err
	case t.open != nil && t.open.partitions[to]:
		return nil
	case !begin:
		return ErrNotInTransaction
	case !c.hasRoom(partitionBytes):
		return ErrNoRoom
	}
	if t.open == nil {
		c.begin(now, t)
	}
	c.addPartition(t, to)
	return nil
}

// AdmitGroup does for the positions of a group what Admit does for batches: begin is true for TxnOffsetCommit from
// version 5 on.
func (c *Coordinator) AdmitGroup(now time.Time, id string, p Producer, group string, begin bool) error {
	t, err := c.findCurrent(id, p)
	switch {
	case err != nil:
		return err
	case t.open != nil && t.open.groups[group]:
		return nil
	case !begin:
		return ErrNotInTransaction
	case !c.hasRoom(partitionBytes + int64(len(group))):
		return ErrNoRoom
	}
	if t.open == nil {
		c.begin(now, t)
	}
	c.addGroup(t, group)
	return nil
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactional is a committer that commits the emissions, marks and positions of a round in one transaction. Its
// producer is not a member of the group. Between rounds no transaction is open.
type transactional struct {
	names    names
	id       string // transactional id, different for each start of the instance
	protocol protocol
	group    *kgo.Client // fetches committed offsets
	options  []kgo.Opt   // options of the producer
	overlap  bool        // send the positions while the records are in flight
	// abortLost aborts a round if a partition is lost after its position was accepted. Otherwise the round is
	// committed, which is safe because the new owner of the partition waits for stable offsets.
	abortLost bool
	producer  *kgo.Client // nil after it was fenced
	blind     bool        // see settings.Blind
}

func (c *transactional) author() string { return c.id }

func (c *transactional) close() {
	if c.producer != nil {
		c.producer.Close()
	}
}

// open creates the producer if there is none. InitProducerId with the transactional id and without an epoch ends what
// an earlier producer with this id has left open, and fences that producer. The same id can therefore be used again
// without waiting for a transaction timeout.
func (c *transactional) open(ctx context.Context) error {
	if c.producer != nil {
		return nil
	}
	producer, err := kgo.NewClient(slices.Concat(c.options, c.protocol.options(), []kgo.Opt{
		kgo.TransactionalID(c.id), kgo.TransactionTimeout(transactionTimeout),
	})...)
	if err != nil {
		return err
	}
	// Load the producer id before the first transaction. The client knows the transaction version only after a
	// response, and would otherwise run its first transaction with the old protocol.
	if err := reload(ctx, producer); err != nil {
		producer.Close()
		return err
	}
	c.producer = producer
	return nil
}

// reopen closes a producer that cannot be used any more; open will create another.
func (c *transactional) reopen(why error) {
	say(note{What: noteReopened, Why: reason(why)})
	c.producer.Close()
	c.producer = nil
}

func (c *transactional) commit(ctx context.Context, r round) result {
	if err := c.open(ctx); err != nil {
		return result{verdict: again, why: "open: " + reason(err)}
	}
	if err := c.producer.BeginTransaction(); err != nil {
		c.reopen(err)
		return result{verdict: again, why: "begin: " + reason(err)}
	}
	marks := r.marks(c.author(), c.names)
	if failed := c.fill(ctx, r, marks); failed != nil {
		c.abort(ctx)
		return *failed
	}
	lost := !r.allOwned()
	if lost && c.abortLost {
		c.abort(ctx)
		return result{verdict: again, why: "a partition was lost after its position was accepted"}
	}
	err := c.producer.EndTransaction(ctx, kgo.TryCommit)
	at(pointEnded)
	switch {
	case err == nil:
		if lost || !r.allOwned() {
			say(note{What: noteDespite})
		}
		return result{verdict: committed, marks: r.offsetsOf(marks)}
	case errors.Is(err, kerr.OperationNotAttempted) || errors.Is(err, kerr.TransactionAbortable):
		c.abort(ctx)
		return result{verdict: again, why: "end: " + reason(err)}
	}
	return c.decide(ctx, r, err)
}

// fill produces the records and sends the positions. It returns nil if the transaction can be committed, and
// otherwise the result of the round.
func (c *transactional) fill(ctx context.Context, r round, marks []*kgo.Record) *result {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	offsets := make(chan error, 1)
	if c.overlap {
		go func() { offsets <- c.commitOffsets(ctx, r) }()
	}
	records := append(r.emissions(), marks...)
	produced := make(chan error, 1)
	go func() { produced <- produceAll(ctx, c.producer, records) }()
	at(pointBegun)
	err := <-produced
	if err == nil {
		at(pointProduced)
	}
	if err == nil && !c.overlap && !c.blind && !r.allOwned() {
		return &result{verdict: again, why: "a partition was lost before its position was sent"}
	}
	var refusedOffsets error
	if c.overlap {
		refusedOffsets = <-offsets
	} else if err == nil {
		refusedOffsets = c.commitOffsets(ctx, r)
	}
	if err != nil {
		failed := failedProduce("records", err)
		return &failed
	}
	if refusedOffsets != nil {
		return &result{verdict: again, why: "positions: " + reason(refusedOffsets)}
	}
	at(pointOffsets)
	return nil
}

// commitOffsets adds the positions to the transaction, with the member id and generation of the round. It sends the
// request through the producer's client, which uses the versions of the transaction's protocol.
func (c *transactional) commitOffsets(ctx context.Context, r round) error {
	id, epoch, err := c.producer.ProducerID(ctx)
	if err != nil {
		return err
	}
	if c.protocol.version < 2 {
		if err := c.addOffsets(ctx, id, epoch); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = c.id, id, epoch
	req.Group, req.MemberID, req.Generation = c.names.group, r.member, r.generation
	if c.blind {
		req.MemberID, req.Generation = "", -1
	}
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	if topic.TopicID, err = topicID(ctx, c.producer, c.names.source); err != nil {
		return err
	}
	topic.Topic = c.names.source
	for _, p := range r.parts {
		row := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		text := r.metadata(c.author(), p).String()
		row.Partition, row.Offset, row.Metadata = p.partition, p.after.position, &text
		topic.Partitions = append(topic.Partitions, row)
	}
	req.Topics = append(req.Topics, topic)
	return whileConcurrent(ctx, func() error {
		resp, err := req.RequestWith(ctx, c.producer)
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := errorOf(p.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// addOffsets sends AddOffsetsToTxn, which transactions before version 2 need before the positions.
func (c *transactional) addOffsets(ctx context.Context, id int64, epoch int16) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = c.id, id, epoch, c.names.group
	return whileConcurrent(ctx, func() error {
		resp, err := req.RequestWith(ctx, c.producer)
		if err != nil {
			return err
		}
		return errorOf(resp.ErrorCode)
	})
}

// whileConcurrent repeats a request while the coordinator is busy with the previous transaction, as kgo does for its
// own requests.
func whileConcurrent(ctx context.Context, send func() error) error {
	for {
		err := send()
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		say(note{What: noteConcurrent})
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// abort aborts the transaction. If that fails, the producer is replaced, which also ends the transaction.
func (c *transactional) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := c.end(ctx); err != nil {
		c.reopen(err)
	}
}

// end aborts the transaction and returns when the coordinator has decided it.
func (c *transactional) end(ctx context.Context) error {
	if err := c.producer.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	if err := c.producer.EndTransaction(ctx, kgo.TryAbort); err != nil {
		return err
	}
	// EndTransaction may have returned nil after only marking the producer id to be reloaded.
	return reload(ctx, c.producer)
}

// reload loads the producer id if necessary. InitProducerId is answered only after no transaction of this id is open
// any more.
func reload(ctx context.Context, producer *kgo.Client) error {
	_, _, err := producer.ProducerID(ctx)
	return err
}

// decide finds out the outcome of a transaction whose end was not confirmed. It first makes sure that the transaction
// is no longer open; then the stable offsets of the group tell the outcome.
func (c *transactional) decide(ctx context.Context, r round, why error) result {
	for tries := 0; ; tries++ {
		err := c.decided(ctx, tries)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return result{verdict: unknown, why: "stopped: " + reason(err)}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return c.outcome(ctx, r, why)
}

// outcome reads the outcome of a round whose transaction is no longer open. The position of any partition that this
// instance still owns tells the outcome for the whole round.
func (c *transactional) outcome(ctx context.Context, r round, why error) result {
	for ctx.Err() == nil {
		var mine []part
		var partitions []int32
		for _, p := range r.parts {
			if r.owned(p.incarnation) {
				mine = append(mine, p)
				partitions = append(partitions, p.partition)
			}
		}
		if len(mine) == 0 {
			say(note{What: noteDecided, Why: "no longer ours"})
			return result{verdict: unknown, why: reason(why)}
		}
		found, err := committedOf(ctx, c.group, c.names, partitions, true)
		if err != nil { // kerr.UnstableOffsetCommit, or no broker answers
			time.Sleep(20 * time.Millisecond)
			continue
		}
		counts := 0
		for _, p := range mine {
			if m := found[p.partition]; m.Author == c.id && m.Round >= p.after.round {
				counts++
			}
		}
		if counts != 0 && counts != len(mine) && r.allOwned() {
			say(note{What: noteBroken, Why: fmt.Sprintf("a transaction is committed in %d of %d partitions", counts, len(mine))})
		}
		if counts > 0 {
			say(note{What: noteDecided, Why: "committed"})
			return result{verdict: committed}
		}
		say(note{What: noteDecided, Why: "not committed"})
		return result{verdict: again, why: "unconfirmed: " + reason(why)}
	}
	return result{verdict: unknown, why: "stopped"}
}

// decided returns nil if no transaction of this id is open any more.
func (c *transactional) decided(ctx context.Context, tries int) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if c.producer == nil {
		return c.open(ctx)
	}
	err := c.end(ctx)
	if ke, ok := errors.AsType[*kerr.Error](err); ok && !ke.Retriable || err != nil && tries >= 20 {
		c.reopen(err)
	}
	return err
}

//go:build linux

package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// takeoverGrace is how long takeOver waits for a transaction that has just ended, until the end is written to all
// partitions.
const takeoverGrace = 500 * time.Millisecond

// takeOver ends the transaction that the previous owner of some partitions has left open, if there is one. The
// metadata of the last committed positions names that owner. The owner was removed from the group, or has released
// the partitions after its last round, so its open transaction must not be committed any more, and waiting for its
// timeout would only delay.
func (i *instance) takeOver(ctx context.Context, partitions []int32) {
	ends, err := kadm.NewClient(i.client).ListEndOffsets(ctx, i.names.marks)
	if err != nil {
		return // onOffsets fails for the same reason
	}
	for deadline := time.Now().Add(takeoverGrace); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if i.nothingOpen(ctx, partitions, ends) {
			return
		}
	}
	last, err := committedOf(ctx, i.client, i.names, partitions, false)
	if err != nil {
		return
	}
	authors := make(map[string]bool)
	for _, m := range last {
		authors[m.Author] = true
	}
	delete(authors, i.committer.author())
	for author := range authors {
		began := time.Now()
		err := i.fence(ctx, author)
		say(note{What: noteTakeover, Why: errorText(err), Took: time.Since(began)})
	}
}

// nothingOpen reports whether no open transaction has a position of the given partitions, or a record below the given
// ends in the partitions of their marks.
func (i *instance) nothingOpen(ctx context.Context, partitions []int32, ends kadm.ListedOffsets) bool {
	if _, err := committedOf(ctx, i.client, i.names, partitions, true); err != nil {
		return false
	}
	stable, err := kadm.NewClient(i.client).ListCommittedOffsets(ctx, i.names.marks)
	if err != nil {
		return false
	}
	for _, p := range partitions {
		end, _ := ends.Lookup(i.names.marks, marksOf(p))
		if at, ok := stable.Lookup(i.names.marks, marksOf(p)); !ok || at.Err != nil || at.Offset < end.Offset {
			return false
		}
	}
	return true
}

// fence ends the open transaction of a transactional id, and returns when it has ended.
func (i *instance) fence(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = &id, -1, -1
	req.TransactionTimeoutMillis = int32(transactionTimeout.Milliseconds())
	return whileConcurrent(ctx, func() error {
		resp, err := req.RequestWith(ctx, i.client)
		if err != nil {
			return err
		}
		return errorOf(resp.ErrorCode)
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return reason(err)
}

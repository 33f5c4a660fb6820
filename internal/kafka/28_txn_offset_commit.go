package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/txn"
)

// TxnOffsetCommit (API key 28), versions 0–5. From version 5 on it adds the group to the transaction by itself
// (transactions version 2, KIP-890).

// minTxnOffsetCommitV2 is the first version of TxnOffsetCommit that may begin the transaction.
const minTxnOffsetCommitV2 = 5

// txnOffsetCommit commits positions of a group in a transaction. It blocks until they are durable. They count once the
// transaction has committed.
func (c *conn) txnOffsetCommit(ctx context.Context, r *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	ask := group.CommitRequest{Group: r.Group, Generation: -1, Offsets: map[group.TopicPartition]group.Committed{}}
	if r.Version >= 3 {
		ask.Member, ask.InstanceID, ask.Generation = group.MemberID(r.MemberID), r.InstanceID, group.Generation(r.Generation)
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		topic, known := c.server.engine.Topic(t.Topic)
		row := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			answer := kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition}
			if !known || !within(topic, p.Partition) {
				answer.ErrorCode = unknownTopicOrPartition
			} else {
				committed := group.Committed{Offset: p.Offset, LeaderEpoch: -1}
				if r.Version >= 2 {
					committed.LeaderEpoch = p.LeaderEpoch
				}
				if p.Metadata != nil {
					committed.Metadata = *p.Metadata
				}
				ask.Offsets[group.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = committed
			}
			row.Partitions = append(row.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, row)
	}
	if len(ask.Offsets) == 0 {
		return resp
	}
	in := engine.Transaction{ID: r.TransactionalID, Begin: r.Version >= minTxnOffsetCommitV2}
	errs := c.server.engine.CommitInTransaction(ctx, in, txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, ask)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == none {
				// As in Apache Kafka, who is fenced is told INVALID_PRODUCER_EPOCH in every version.
				p.ErrorCode = transactionCode(errs[group.TopicPartition{Topic: r.Topics[i].Topic, Partition: p.Partition}], false)
			}
		}
	}
	return resp
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// atLeastOnce is a committer without transactions. It waits until the emissions are acknowledged, then until the
// marks are acknowledged, and then commits the positions.
type atLeastOnce struct {
	names    names
	start    string
	producer *kgo.Client
	group    *kgo.Client // sends the offset commits
}

// stepTimeout is the maximum time for one round.
const stepTimeout = 20 * time.Second

func (c *atLeastOnce) author() string { return c.start }
func (c *atLeastOnce) close()         { c.producer.Close() }

func (c *atLeastOnce) commit(ctx context.Context, r round) result {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	at(pointBegun)
	if err := produceAll(ctx, c.producer, r.emissions()); err != nil {
		return failedProduce("emissions", err)
	}
	at(pointProduced)
	marks := r.marks(c.author(), c.names)
	if err := produceAll(ctx, c.producer, marks); err != nil {
		return failedProduce("marks", err)
	}
	done := result{verdict: committed, marks: r.offsetsOf(marks)}
	at(pointMarked)
	var owned []part
	for _, p := range r.parts {
		if r.owned(p.incarnation) {
			owned = append(owned, p)
		}
	}
	if len(owned) == 0 {
		return done
	}
	r.parts = owned
	codes, err := c.commitOffsets(ctx, r)
	at(pointOffsets)
	for _, p := range owned {
		why := err
		if why == nil {
			why = errorOf(codes[p.partition])
		}
		if why != nil {
			done.uncommitted = append(done.uncommitted, p.partition)
			done.why = reason(why)
		}
	}
	return done
}

// commitOffsets commits the positions of a round, and returns the error code of each partition.
func (c *atLeastOnce) commitOffsets(ctx context.Context, r round) (map[int32]int16, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = c.names.group, r.member, r.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	id, err := topicID(ctx, c.group, c.names.source)
	if err != nil {
		return nil, err
	}
	topic.Topic, topic.TopicID = c.names.source, id
	for _, p := range r.parts {
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		text := r.metadata(c.author(), p).String()
		row.Partition, row.Offset, row.Metadata = p.partition, p.after.position, &text
		topic.Partitions = append(topic.Partitions, row)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, c.group)
	if err != nil {
		return nil, err
	}
	codes := make(map[int32]int16)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes[p.Partition] = p.ErrorCode
		}
	}
	return codes, nil
}

// failedProduce returns the result of a round some of whose records were not acknowledged. what names the records.
func failedProduce(what string, err error) result {
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) {
		return result{verdict: refused, why: reason(err)}
	}
	return result{verdict: again, why: fmt.Sprintf("%s: %s", what, reason(err))}
}

// reason returns a short text for an error, so that equal errors are counted together.
func reason(err error) string {
	if ke, ok := errors.AsType[*kerr.Error](err); ok {
		return ke.Message
	}
	for _, e := range []error{context.DeadlineExceeded, context.Canceled, errCut, kgo.ErrRecordTimeout, kgo.ErrRecordRetries, kgo.ErrAborting, kgo.ErrClientClosed} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	text := err.Error()
	return text[:min(len(text), 90)]
}

//go:build linux

package main

import (
	"context"
	"encoding/json"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committer commits rounds.
type committer interface {
	// commit makes a round durable. It blocks until the outcome is known. It is called by one goroutine at a time.
	commit(ctx context.Context, r round) result
	// author returns a name for this start of the instance, which is recorded in marks and metadata.
	author() string
	close()
}

// incarnation is a number for one assignment of a partition to this instance.
type incarnation int64

// round is a commit round: what is committed together. All fields were read in one critical section.
type round struct {
	member     string
	generation int32
	parts      []part
	owned      func(incarnation) bool // reports whether an incarnation still belongs to this instance
}

// part is the part of a round that belongs to one source partition.
type part struct {
	partition   int32
	incarnation incarnation
	after       *tracker // the tracker of the partition if the round is committed
	done        []*invocation
}

// invocation is a call of a handler that has returned.
type invocation struct {
	item    *item
	records []*kgo.Record // emissions of the handler
}

// verdict is the outcome of a round.
type verdict int

const (
	// committed means that the round is durable.
	committed verdict = iota
	// again means that nothing of the round is committed and that it should be retried.
	again
	// refused means that nothing of the round is committed, because the log refuses one of its records.
	refused
	// unknown means that the outcome cannot be known, because all partitions of the round have been lost meanwhile or
	// the instance was stopped.
	unknown
)

// result is the outcome of a round with its details.
type result struct {
	verdict verdict
	why     string
	// uncommitted are the partitions of a committed round whose positions could not be committed. They become part of
	// the next round.
	uncommitted []int32
	marks       map[int32]int64 // for a committed round: offset of the mark of each source partition
}

func (r round) invocations() (n int) {
	for _, p := range r.parts {
		n += len(p.done)
	}
	return n
}

// allOwned reports whether this instance still owns all partitions of the round.
func (r round) allOwned() bool {
	for _, p := range r.parts {
		if !r.owned(p.incarnation) {
			return false
		}
	}
	return true
}

func (r round) metadata(author string, p part) metadata {
	return metadata{author, r.member, r.generation, p.after.round, p.after.marksFrom()}
}

func (r round) emissions() []*kgo.Record {
	var records []*kgo.Record
	for _, p := range r.parts {
		for _, i := range p.done {
			for _, e := range i.records {
				fresh := *e // kgo keeps and changes records that are produced
				records = append(records, &fresh)
			}
		}
	}
	return records
}

// marks returns one mark for each partition of the round with finished invocations.
func (r round) marks(author string, n names) []*kgo.Record {
	var records []*kgo.Record
	for _, p := range r.parts {
		if len(p.done) == 0 {
			continue
		}
		m := mark{Source: p.partition, metadata: r.metadata(author, p)}
		for _, i := range p.done {
			m.Done = append(m.Done, i.item.offset)
		}
		b, _ := json.Marshal(m) // cannot fail
		records = append(records, &kgo.Record{Topic: n.marks, Partition: marksOf(p.partition), Value: b})
	}
	return records
}

// produceAll produces records and waits until all are acknowledged or have failed. It returns the first error.
func produceAll(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	return client.ProduceSync(ctx, records...).FirstErr()
}

// offsetsOf returns the offset of each source partition's mark. marks must be the result of r.marks after it was
// produced.
func (r round) offsetsOf(marks []*kgo.Record) map[int32]int64 {
	found := make(map[int32]int64)
	for _, p := range r.parts {
		if len(p.done) > 0 {
			found[p.partition] = marks[0].Offset
			marks = marks[1:]
		}
	}
	return found
}

// committedOf fetches the metadata that the group has committed for the given partitions. If stable is true and an
// open transaction has a commit for one of them, the error is kerr.UnstableOffsetCommit.
func committedOf(ctx context.Context, client *kgo.Client, n names, partitions []int32, stable bool) (map[int32]metadata, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group, group.MemberEpoch = n.group, -1
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = n.source, partitions
	id, err := topicID(ctx, client, n.source)
	if err != nil {
		return nil, err
	}
	topic.TopicID = id // used by versions 10 and later of the request
	group.Topics = append(group.Topics, topic)
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	found := make(map[int32]metadata)
	for _, g := range resp.Groups {
		if err := errorOf(g.ErrorCode); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := errorOf(p.ErrorCode); err != nil {
					return nil, err
				}
				if m, ok := parseMetadata(p.Metadata); ok {
					found[p.Partition] = m
				}
			}
		}
	}
	return found, nil
}

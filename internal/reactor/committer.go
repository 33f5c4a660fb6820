package reactor

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// committer writes what a commit round gathers to the log: marks and positions.
type committer interface {
	// commit writes the marks of a round and commits its positions with the member id and generation of the round. It
	// blocks until that is durable, has failed, or ctx is done. If it returns an error, the whole round counts as not
	// written. Otherwise the marks are durable, and the result names the partitions whose positions must be committed
	// again. It leaves out the positions of parts that are not owned any more. There must be one call at a time.
	commit(ctx context.Context, r round) (committed, error)
}

// committed is the result of a round whose marks are durable.
type committed struct {
	failed   []uncommitted
	marksEnd int64 // an offset of tidings.reactions; the marks of all parts are below it
}

// uncommitted is a part of a round whose position was not committed, with the reason.
type uncommitted struct {
	topicPartition
	incarnation incarnation
	err         error
}

// atLeastOnce is the committer of reactions whose handlers' emissions are acknowledged before their event counts as
// handled. It appends the marks, one or more records for each partition. When those are durable, it appends the
// progress, and then commits the positions in one request. After a crash between any two of these steps, the events of
// the round are handled again and emit the same ids.
type atLeastOnce struct {
	reaction    string
	instance    string // static member name; empty for a dynamic member
	log         appender
	coordinator kmsg.Requestor

	// marksEnd is an offset of tidings.reactions. The marks below it are known to this instance, of all partitions that it
	// owns.
	marksEnd int64
}

// appender is the part of *logclient.Client that a committer needs.
type appender interface {
	ProduceSync(ctx context.Context, records ...*kgo.Record) error
	Topic(ctx context.Context, name string) (logclient.Topic, error)
}

// commit implements committer. If the marks fail, it commits no position: a position that moves without marks would
// leave behind it events of which no record says whether they were handled.
func (c *atLeastOnce) commit(ctx context.Context, r round) (committed, error) {
	marks := c.marks(r.parts, obligation.MaxMarks)
	err := c.log.ProduceSync(ctx, marks...)
	if errors.Is(err, kerr.MessageTooLarge) {
		marks = c.marks(bare(r.parts), minMarks)
		err = c.log.ProduceSync(ctx, marks...)
	}
	if err != nil {
		return committed{}, err
	}
	for _, m := range marks {
		c.marksEnd = max(c.marksEnd, m.Offset+1)
	}
	if err := c.log.ProduceSync(ctx, c.progress(r.parts)...); err != nil {
		return committed{}, err
	}
	c.marksEnd = max(c.marksEnd, r.marksEnd)
	result := committed{marksEnd: c.marksEnd}
	var parts []finished
	for _, f := range r.parts {
		if r.owned == nil || r.owned(f.incarnation) {
			parts = append(parts, f)
		}
	}
	if len(parts) == 0 {
		return result, nil
	}
	var codes map[topicPartition]int16
	codes, err = c.commitOffsets(ctx, r.membership, parts)
	for _, f := range parts {
		why := err
		if why == nil {
			code, answered := codes[f.topicPartition]
			if why = kerr.ErrorForCode(code); !answered {
				why = errNoAnswer
			}
		}
		if why != nil {
			result.failed = append(result.failed, uncommitted{f.topicPartition, f.incarnation, why})
		}
	}
	return result, nil
}

var errNoAnswer = errors.New("the log gave no answer for this partition")

// progress returns the records of a round's progress and failing events. They must be written after the round's marks.
func (c *atLeastOnce) progress(parts []finished) (records []*kgo.Record) {
	for i := range parts {
		records = append(records, progressRecords(c.reaction, &parts[i])...)
		if parts[i].failingChanged {
			records = append(records, failingRecord(c.reaction, &parts[i]))
		}
	}
	return records
}

// minMarks is the size in bytes of a record of marks, at most, if the log has refused larger ones.
const minMarks = 4 << 10

// bare returns copies of the parts without the details that are only shown to people.
func bare(parts []finished) []finished {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].summary = summary{copies: parts[i].copies, unhandled: parts[i].unhandled, emitted: parts[i].emitted}
	}
	return parts
}

// marks returns the records of a round's marks, each of at most limit bytes. A part in which nothing has become done
// has no marks.
func (c *atLeastOnce) marks(parts []finished, limit int) []*kgo.Record {
	var records []*kgo.Record
	for _, f := range parts {
		if !f.marked() {
			continue
		}
		whole := &obligation.Marks{
			Reaction: c.reaction, Topic: f.topic, TopicID: obligation.TopicID(f.draft.topic), Partition: f.partition, Epoch: f.epoch, Position: f.position,
			Done: f.done, Unhandled: f.unhandled.Ranges(), Skipped: f.skipped, Retried: f.retried, Copies: f.copies, Times: f.times,
			Emitted: f.emitted.ranges(), Through: f.emitted.positions(),
			Started: f.started.UTC(), Finished: f.ended.UTC(),
		}
		if f.leader >= 0 {
			whole.Leader = &f.leader
		}
		for _, m := range whole.Split(limit) {
			records = append(records, recordOfFact(m))
		}
	}
	return records
}

// commitOffsets commits the positions of parts and returns the error code of each partition. If it returns an error,
// the positions may or may not have been committed.
func (c *atLeastOnce) commitOffsets(ctx context.Context, m membership, parts []finished) (map[topicPartition]int16, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = c.reaction
	req.MemberID = m.member
	req.Generation = m.generation
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	names := make(map[[16]byte]string) // from version 10 of OffsetCommit on, topics are named by their ids
	index := make(map[string]int)
	for _, f := range parts {
		if _, ok := index[f.topic]; !ok {
			found, err := c.log.Topic(ctx, f.topic)
			if err != nil {
				return nil, err
			}
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = f.topic, found.ID
			names[found.ID] = f.topic
			index[f.topic] = len(req.Topics)
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = f.partition
		p.Offset = f.position
		if f.position <= f.read { // otherwise another instance has read the records below the position, perhaps in later epochs
			p.LeaderEpoch = f.leader
		}
		from := f.marksFrom
		if f.whole {
			from = max(from, c.marksEnd)
		}
		text := f.draft.text(from)
		p.Metadata = &text
		t := &req.Topics[index[f.topic]]
		t.Partitions = append(t.Partitions, p)
	}
	resp, err := req.RequestWith(ctx, c.coordinator)
	if err != nil {
		return nil, err
	}
	codes := make(map[topicPartition]int16)
	for _, t := range resp.Topics {
		topic := t.Topic
		if topic == "" {
			topic = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			codes[topicPartition{topic, p.Partition}] = p.ErrorCode
		}
	}
	return codes, nil
}

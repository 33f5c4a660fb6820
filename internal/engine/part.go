package engine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
)

// part is one partition at work: the log of what is durable, and before it the place where offsets are given.
//
// Locks are taken in the order assign, then those inside the journal. The journal's goroutine never takes assign, so
// an appender may hold it while it waits for room in the journal's queue.
type part struct {
	id     Partition
	dir    string
	limits partLimits
	log    *partition.Log // all of it is durable, and its end is the high watermark

	epoch   atomic.Int32
	deleted atomic.Bool

	assign    sync.Mutex
	next      int64         // the next offset to give; guarded by assign
	producers txn.Producers // guarded by assign

	waiting waiters
	touched bool // in Engine.touched; the journal's goroutine alone looks at it

	io sync.Mutex // one at a time: Flush, Sync, DeleteBefore, Close
}

// partLimits is what an append and retention must know of the topic's configuration.
type partLimits struct {
	log             partition.Config
	maxBatchBytes   int64
	timestampBefore time.Duration // how old a record may claim to be
	timestampAfter  time.Duration // how far ahead of the broker's clock
	logAppendTime   bool
	compacted       bool
}

func partDir(p Partition) string { return fmt.Sprintf("%s/%d", topicDir(p.Topic), p.Index) }

func topicDir(id meta.TopicID) string { return topicsDir + "/" + id.String() }

// newPart joins a log with its working state. Offsets go on at the log's end.
func newPart(id Partition, limits partLimits, log *partition.Log) *part {
	p := &part{id: id, dir: partDir(id), limits: limits, log: log, next: log.End()}
	p.epoch.Store(max(log.Epoch(), 0))
	return p
}

// producerOf reads what the header of a batch says of its producer.
func producerOf(v batch.View) txn.Batch {
	return txn.Batch{ProducerID: v.ProducerID(), Epoch: v.ProducerEpoch(), BaseSequence: v.BaseSequence(), Count: v.Count()}
}

// appendTime is the time that an append is answered with: ms since the epoch, -1 under CreateTime.
func appendTime(v batch.View) int64 {
	if v.LogAppendTime() {
		return v.MaxTimestamp()
	}
	return -1
}

// restore takes one batch that recovery read from the journal. producersAt is the offset up to which the checkpoint's
// producer state goes. Bytes are kept.
func (p *part) restore(v batch.View, producersAt int64, at time.Time) error {
	if v.BaseOffset() >= producersAt {
		p.producers.Record(producerOf(v), v.BaseOffset(), appendTime(v), at)
	}
	switch end := p.log.End(); {
	case v.NextOffset() <= end: // the segment had it when the checkpoint was taken
		return nil
	case v.BaseOffset() != end:
		return fmt.Errorf("engine: partition %s/%d ends at offset %d, but the journal goes on at %d",
			p.id.Topic, p.id.Index, end, v.BaseOffset())
	}
	p.log.Append(v)
	p.next = v.NextOffset()
	return nil
}

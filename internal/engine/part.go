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
// Locks are taken in the order assign, then those inside the journal. The goroutine that commits never takes assign, so
// an appender may hold it while it waits for room in the journal's queue.
type part struct {
	id  Partition
	dir string
	log *partition.Log // all of it is durable, and its end is the high watermark

	ring *ring // nil unless in memory mode: then it has the records, and log is empty

	configured atomic.Pointer[partLimits] // replaced when the topic's configuration changes

	epoch   atomic.Int32
	deleted atomic.Bool

	assign    sync.Mutex
	next      int64         // the next offset to give; guarded by assign
	producers txn.Producers // guarded by assign

	waiting waiters
	touched bool   // in Engine.touched; the goroutine that commits alone looks at it
	dirtyIn uint64 // the round of checkpoints in which it was last appended to; that goroutine's, too

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
	compaction      compactionLimits
	durability      meta.Durability
	syncWithin      time.Duration // of meta.Interval
}

func partDir(p Partition) string { return fmt.Sprintf("%s/%d", topicDir(p.Topic), p.Index) }

func topicDir(id meta.TopicID) string { return topicsDir + "/" + id.String() }

// newPart joins a log with its working state. Offsets go on at the log's end.
func newPart(id Partition, limits partLimits, log *partition.Log) *part {
	p := &part{id: id, dir: partDir(id), log: log, next: log.End()}
	p.configured.Store(&limits)
	p.epoch.Store(max(log.Epoch(), 0))
	if limits.inMemory() {
		p.ring = newRing(p.next)
	}
	return p
}

// limits is what is in force; it may change between two calls.
func (p *part) limits() *partLimits { return p.configured.Load() }

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

package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
)

// part is one partition of a running engine: its log, which contains what is durable, and the state that gives offsets
// to appends.
//
// Invariant for a partition that is not in memory mode: log.Start() <= log.End() <= next, and log.End() is the high
// watermark. The offsets in [log.End(), next) belong to batches that are queued in the journal. For a partition in
// memory mode: ring.start <= ring.end == next, and ring.end is the high watermark.
type part struct {
	id  Partition
	dir string
	log *partition.Log // the records that are as durable as the topic asks for

	ring *ring // in memory mode the records, while log is empty; nil for all other partitions

	configured atomic.Pointer[partConfig] // replaced as a whole when the topic's configuration changes

	epoch   atomic.Int32 // leader epoch; never decreases
	deleted atomic.Bool  // the topic is deleted, and log is closed or will be closed soon; never reset

	// assign orders the appends to this partition: it is held from the moment at which a batch gets its offset until
	// the journal has queued it. It may be held while the journal's queue has no space, so the committing goroutine
	// never takes it.
	assign sync.Mutex
	next   int64 // offset of the next record; guarded by assign
	// producers is the state of idempotent producers; guarded by assign. It may include batches that are queued and not
	// yet durable.
	producers txn.Producers

	waiting waiters // fetches that wait for records of this partition

	touched         bool   // the partition is in commits.touched; owned by the committing goroutine
	dirtyGeneration uint64 // checkpointInterval.generation + 1 at the last append; owned by the committing goroutine

	io sync.Mutex // held during calls of log that write or remove files or close the log
}

// partConfig is the part of a topic's configuration that its partitions need. It is immutable.
type partConfig struct {
	log           partition.Config
	maxBatchBytes int64
	// timestampBefore is how far before the broker's clock a record's timestamp may be. Negative means that it is not
	// checked.
	timestampBefore time.Duration
	// timestampAfter is how far after the broker's clock a record's timestamp may be. Negative means that it is not
	// checked.
	timestampAfter time.Duration
	logAppendTime  bool
	compacted      bool
	compaction     compactionConfig
	durability     meta.Durability
	syncWithin     time.Duration // the longest time until the sync if durability is meta.Interval
}

// inMemory reports whether the partition is in memory mode.
func (c *partConfig) inMemory() bool { return c.durability == meta.Memory }

// newPart returns a part that owns log. The first record that is appended gets the offset log.End().
func newPart(id Partition, config partConfig, log *partition.Log, producers *txn.Limit) *part {
	p := &part{id: id, dir: id.Dir(), log: log, next: log.End()}
	p.producers.SetLimit(producers)
	p.configured.Store(&config)
	p.epoch.Store(max(log.Epoch(), 0))
	if config.inMemory() {
		p.ring = newRing(p.next)
	}
	return p
}

// config returns the configuration that is in force. The next call may return another one.
func (p *part) config() *partConfig { return p.configured.Load() }

// start returns the first offset that may be read.
func (p *part) start() int64 {
	if p.ring != nil {
		start, _ := p.ring.bounds()
		return start
	}
	return p.log.Start()
}

// bounds returns what start and end return, both of the same moment.
func (p *part) bounds() (start, end int64) {
	if p.ring != nil {
		return p.ring.bounds()
	}
	return p.log.Bounds()
}

// end returns the high watermark: the offset after the last record that may be read.
func (p *part) end() int64 {
	if p.ring != nil {
		_, end := p.ring.bounds()
		return end
	}
	return p.log.End()
}

// read appends batches to dst, beginning with the batch that contains offset, and returns dst. If orStored is true and
// the batches are in a segment file, it may return a description of their place there. See partition.Log.Read and
// ReadStored.
func (p *part) read(dst [][]byte, offset int64, maxBytes int, orStored bool) (_ [][]byte, stored Stored, err error) {
	switch {
	case p.ring != nil:
		dst, err = p.ring.read(dst, offset, maxBytes)
	case orStored:
		return p.log.ReadStored(dst, offset, maxBytes)
	default:
		dst, err = p.log.Read(dst, offset, maxBytes)
	}
	return dst, Stored{}, err
}

// maxTimestamp returns the offset and the timestamp, in milliseconds since the Unix epoch, of the record with the
// largest timestamp. It returns -1, -1 if there is none. In memory mode the offset is that of the last record of the
// same batch.
func (p *part) maxTimestamp() (offset, ts int64) {
	if p.ring == nil {
		return p.log.MaxTimestamp()
	}
	offset, ts = -1, -1
	p.ring.each(func(v batch.View) bool {
		if v.MaxTimestamp() > ts {
			offset, ts = v.LastOffset(), v.MaxTimestamp()
		}
		return true
	})
	return offset, ts
}

// offsetForTime returns the offset and timestamp of the first record with a timestamp at or after ms, in milliseconds
// since the Unix epoch. ok is false if there is none. In memory mode the offset is that of the first record of the same
// batch. offsetForTime may read from disk.
func (p *part) offsetForTime(ms int64) (offset, ts int64, ok bool, err error) {
	if p.ring == nil {
		return p.log.OffsetForTime(ms)
	}
	p.ring.each(func(v batch.View) bool {
		if v.MaxTimestamp() < ms {
			return true
		}
		offset, ts, ok = v.BaseOffset(), v.MaxTimestamp(), true
		return false
	})
	return offset, ts, ok, nil
}

// checkEpoch returns ErrFencedEpoch if epoch, which a client has sent, is lower than the partition's leader epoch, and
// ErrUnknownEpoch if it is higher. A negative epoch is not checked.
func (p *part) checkEpoch(epoch int32) error {
	switch current := p.epoch.Load(); {
	case epoch < 0 || epoch == current:
		return nil
	case epoch < current:
		return ErrFencedEpoch
	default:
		return ErrUnknownEpoch
	}
}

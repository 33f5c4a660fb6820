package txn

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// recentBatches is the number of batches that are remembered of each producer. Kafka's idempotent clients have at most
// five requests in flight, so that a retry is one of the last five batches (docs/kafka-traps.md, trap 3).
const recentBatches = 5

// Batch has the fields of a record batch that concern its producer.
type Batch struct {
	ProducerID   int64 // negative if the producer is not idempotent
	Epoch        int16
	BaseSequence int32
	Count        int32 // number of records, at least 1
}

// LastSequence returns the sequence number of the batch's last record. Sequence numbers wrap around from MaxInt32 to 0.
func (b Batch) LastSequence() int32 { return addSequence(b.BaseSequence, b.Count-1) }

// addSequence returns the sequence number that is n after s, with wrap-around from MaxInt32 to 0.
func addSequence(s, n int32) int32 {
	return int32((int64(s) + int64(n)) & math.MaxInt32)
}

// CheckResult is the result of Producers.Check. The zero value means that the batch is new and may be appended. The
// other fields are set only if Duplicate is true, and describe the batch that was appended first, the original.
type CheckResult struct {
	Duplicate    bool  // the batch was appended before: the caller must not append it, and answers as for the original
	BaseOffset   int64 // offset of the original's first record
	LastOffset   int64 // offset of the original's last record; the answer must wait until it is durable
	AppendTimeMS int64 // of the original, as the function AppendTimeMS returns it
}

// Producers has the state of the idempotent producers of one partition: for each producer its epoch and its last
// batches. A batch is recorded when its offset is assigned, before it is durable, so that the next batch of a producer
// that pipelines can be checked. If the log is fenced before the batch is durable, the recorded state is wrong, but
// nothing is appended any more.
//
// The zero value is empty. Producers is not safe for concurrent use: the engine holds the lock with which the partition
// assigns offsets.
type Producers struct {
	byID  map[int64]*producer
	limit *Limit // nil: none
}

// Limit bounds the producers of several Producers together, since clients can invent producer ids. It is safe for
// concurrent use.
type Limit struct {
	max  int64
	used atomic.Int64 // number of known producers; may exceed max after a recovery
}

// NewLimit returns a Limit for at most max producers.
func NewLimit(max int) *Limit { return &Limit{max: int64(max)} }

// Exhausted reports whether there is no room for another producer.
func (l *Limit) Exhausted() bool { return l != nil && l.used.Load() >= l.max }

// Full reports whether nine of ten producers are in use.
func (l *Limit) Full() bool { return l != nil && l.used.Load() >= l.max/10*9 }

// producerBytes is the memory of one known producer in bytes, about.
const producerBytes = 320

// Bytes returns the memory of the known producers, about.
func (l *Limit) Bytes() int64 { return l.used.Load() * producerBytes }

func (l *Limit) add(n int) {
	if l != nil && n != 0 {
		l.used.Add(int64(n))
	}
}

// SetLimit makes p count its producers in l. It must be called before the first producer is recorded.
func (p *Producers) SetLimit(l *Limit) { p.limit = l }

// Drop forgets all producers.
func (p *Producers) Drop() {
	p.limit.add(-len(p.byID))
	p.byID = nil
}

// producer is the state of one producer: its epoch and its last batches. It has at least one batch, except inside
// Record and Rollback.
type producer struct {
	epoch int16
	// when the last batch was recorded, by the broker's clock and not by record timestamps (docs/kafka-traps.md, trap
	// 5)
	seen   time.Time
	n      int                     // number of batches in recent
	recent [recentBatches]appended // the oldest first
}

// appended is one batch of a producer in the log: its first and last sequence number, its first and last offset, and
// its log append time in milliseconds (-1 with CreateTime).
type appended struct {
	baseSeq, lastSeq       int32
	baseOffset, lastOffset int64
	appendTimeMS           int64
}

func (p *producer) last() appended { return p.recent[p.n-1] }

// Check decides whether a batch may be appended, by the rules of Apache Kafka's ProducerStateManager:
//
//   - A batch with the epoch and the sequence numbers of one of the producer's last five batches is a duplicate, which is
//     not an error.
//   - A producer that is not known may begin with any sequence number: its state may have expired, or retention may have
//     deleted its batches.
//   - A batch with a newer epoch must begin with sequence number 0. A batch with an older epoch is refused with
//     ErrInvalidProducerEpoch.
//   - Otherwise the batch must begin with the sequence number after the producer's last one, or it is refused with
//     ErrOutOfOrderSequence.
//
// Errors are of type *SequenceError. Check changes nothing; the caller then calls Record.
func (p *Producers) Check(b Batch) (CheckResult, error) {
	if b.ProducerID < 0 {
		return CheckResult{}, nil
	}
	s := p.byID[b.ProducerID]
	if b.Epoch < 0 || b.BaseSequence < 0 || b.Count < 1 {
		return CheckResult{}, refuse(ErrInvalidSequence, b, s)
	}
	if s == nil {
		if p.limit.Exhausted() {
			return CheckResult{}, refuse(ErrTooManyProducers, b, nil)
		}
		return CheckResult{}, nil
	}
	switch last := s.last(); {
	case b.Epoch < s.epoch:
		return CheckResult{}, refuse(ErrInvalidProducerEpoch, b, s)
	case b.Epoch > s.epoch && b.BaseSequence != 0:
		return CheckResult{}, refuse(ErrOutOfOrderSequence, b, s)
	case b.Epoch > s.epoch, b.BaseSequence == addSequence(last.lastSeq, 1):
		return CheckResult{}, nil
	}
	for _, a := range s.recent[:s.n] {
		if a.baseSeq == b.BaseSequence && a.lastSeq == b.LastSequence() {
			return CheckResult{Duplicate: true, BaseOffset: a.baseOffset, LastOffset: a.lastOffset, AppendTimeMS: a.appendTimeMS}, nil
		}
	}
	return CheckResult{}, refuse(ErrOutOfOrderSequence, b, s)
}

// refuse returns a *SequenceError for batch b with this cause. s is the producer's state, or nil if the producer is not
// known.
func refuse(err error, b Batch, s *producer) error {
	e := &SequenceError{Err: err, Batch: b, LastEpoch: -1, LastSeq: -1}
	if s != nil {
		e.LastEpoch, e.LastSeq = s.epoch, s.last().lastSeq
	}
	return e
}

// Record adds a batch to the state of its producer: after Check has accepted the batch and it has got its offsets, or
// when recovery replays it. The batch has the offsets from baseOffset to baseOffset+Count-1. appendTimeMS is the result
// of the function AppendTimeMS. A batch without a producer id is ignored.
func (p *Producers) Record(b Batch, baseOffset, appendTimeMS int64, now time.Time) {
	if b.ProducerID < 0 || b.Epoch < 0 || b.BaseSequence < 0 || b.Count < 1 {
		return
	}
	s := p.byID[b.ProducerID]
	if s == nil {
		if p.byID == nil {
			p.byID = make(map[int64]*producer)
		}
		s = &producer{epoch: b.Epoch}
		p.byID[b.ProducerID] = s
		p.limit.add(1)
	}
	if b.Epoch != s.epoch {
		s.epoch, s.n = b.Epoch, 0
	}
	if s.n == recentBatches {
		copy(s.recent[:], s.recent[1:])
		s.n--
	}
	s.recent[s.n] = appended{b.BaseSequence, b.LastSequence(), baseOffset, baseOffset + int64(b.Count) - 1, appendTimeMS}
	s.n++
	s.seen = now
}

// LastOffsets returns, by producer id, the last offset of each producer's last batch. Compaction must keep these
// batches, at least without their records, so that the sequence numbers stay in the log.
func (p *Producers) LastOffsets() map[int64]int64 {
	last := make(map[int64]int64, len(p.byID))
	for id, s := range p.byID {
		if s.n > 0 {
			last[id] = s.last().lastOffset
		}
	}
	return last
}

// Active is what is known of one producer.
type Active struct {
	ID           int64
	Epoch        int16
	LastSequence int32
	Seen         time.Time // when its last batch was recorded
}

// Active returns all producers that have batches in the log, in the order of their ids.
func (p *Producers) Active() []Active {
	all := make([]Active, 0, len(p.byID))
	for id, s := range p.byID {
		if s.n > 0 {
			all = append(all, Active{ID: id, Epoch: s.epoch, LastSequence: s.last().lastSeq, Seen: s.seen})
		}
	}
	slices.SortFunc(all, func(a, b Active) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Expire removes the producers whose last batch was recorded earlier than before, and returns their number.
func (p *Producers) Expire(before time.Time) int {
	n := 0
	for id, s := range p.byID {
		if s.seen.Before(before) {
			delete(p.byID, id)
			n++
		}
	}
	p.limit.add(-n)
	return n
}

// Len returns the number of known producers.
func (p *Producers) Len() int { return len(p.byID) }

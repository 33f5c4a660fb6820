package txn

import (
	"math"
	"time"
)

// window is how many batches of a producer are remembered: Kafka's clients keep at most five requests in flight while
// they are idempotent, so a retry can be no older (trap 3 of KAFKA.md).
const window = 5

// Batch is what the header of a record batch says of its producer.
type Batch struct {
	ProducerID   int64 // negative: not idempotent
	Epoch        int16
	BaseSequence int32
	Count        int32 // records in it, at least 1
}

// LastSequence is the sequence of the batch's last record; after MaxInt32 comes 0.
func (b Batch) LastSequence() int32 { return addSequence(b.BaseSequence, b.Count-1) }

func addSequence(s, n int32) int32 {
	return int32((int64(s) + int64(n)) & math.MaxInt32)
}

// Verdict is what Check found. The zero value: new, append it.
type Verdict struct {
	Duplicate    bool  // it is in the log already: do not append it, answer with the original
	BaseOffset   int64 // of the original, when Duplicate
	LastOffset   int64 // of the original: it may be answered once this is durable
	AppendTimeMS int64 // of the original: ms since the epoch, -1 under CreateTime
}

// Producers is the idempotence state of one partition: for each producer its epoch and its last batches. A batch is
// recorded when its offset is assigned, before it is durable, so that pipelined batches follow each other; if the log
// is fenced in between, nothing is appended any more and the state is of no use to anyone.
//
// The zero value is empty. It is not safe for concurrent use: the engine holds the partition's assignment lock.
type Producers struct {
	byID map[int64]*producer
}

type producer struct {
	epoch  int16
	seen   time.Time // by the broker's clock, never by record timestamps (trap 5)
	n      int       // batches in recent
	recent [window]appended
}

// appended is one batch in the log; recent holds them oldest first.
type appended struct {
	baseSeq, lastSeq       int32
	baseOffset, lastOffset int64
	appendTimeMS           int64
}

func (p *producer) last() appended { return p.recent[p.n-1] }

// Check says whether a batch may be appended. The rules are those of Apache Kafka's ProducerStateManager:
//
//   - a batch that is among the producer's last five, same epoch and sequences, is a duplicate and no error;
//   - an unknown producer may begin with any sequence (its state may have expired, or retention taken it);
//   - a newer epoch begins at 0; an older one is ErrInvalidProducerEpoch;
//   - else the sequence follows the last one, or it is ErrOutOfOrderSequence.
//
// Errors are *SequenceError. Check changes nothing.
func (p *Producers) Check(b Batch) (Verdict, error) {
	if b.ProducerID < 0 {
		return Verdict{}, nil
	}
	s := p.byID[b.ProducerID]
	if b.Epoch < 0 || b.BaseSequence < 0 || b.Count < 1 {
		return Verdict{}, refuse(ErrInvalidSequence, b, s)
	}
	if s == nil {
		return Verdict{}, nil
	}
	switch last := s.last(); {
	case b.Epoch < s.epoch:
		return Verdict{}, refuse(ErrInvalidProducerEpoch, b, s)
	case b.Epoch > s.epoch && b.BaseSequence != 0:
		return Verdict{}, refuse(ErrOutOfOrderSequence, b, s)
	case b.Epoch > s.epoch, b.BaseSequence == addSequence(last.lastSeq, 1):
		return Verdict{}, nil
	}
	for _, a := range s.recent[:s.n] {
		if a.baseSeq == b.BaseSequence && a.lastSeq == b.LastSequence() {
			return Verdict{Duplicate: true, BaseOffset: a.baseOffset, LastOffset: a.lastOffset, AppendTimeMS: a.appendTimeMS}, nil
		}
	}
	return Verdict{}, refuse(ErrOutOfOrderSequence, b, s)
}

func refuse(err error, b Batch, s *producer) error {
	e := &SequenceError{Err: err, Batch: b, LastEpoch: -1, LastSeq: -1}
	if s != nil {
		e.LastEpoch, e.LastSeq = s.epoch, s.last().lastSeq
	}
	return e
}

// Record takes note of a batch that was given its offsets after Check let it pass, or that recovery replays. The batch
// ends at baseOffset+Count-1. appendTimeMS is -1 under CreateTime. A batch without a producer id is ignored.
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
	}
	if b.Epoch != s.epoch {
		s.epoch, s.n = b.Epoch, 0
	}
	if s.n == window {
		copy(s.recent[:], s.recent[1:])
		s.n--
	}
	s.recent[s.n] = appended{b.BaseSequence, b.LastSequence(), baseOffset, baseOffset + int64(b.Count) - 1, appendTimeMS}
	s.n++
	s.seen = now
}

// LastOffsets is where the last batch of each known producer ends: compaction keeps those batches, if only their heads.
func (p *Producers) LastOffsets() map[int64]int64 {
	last := make(map[int64]int64, len(p.byID))
	for id, s := range p.byID {
		if s.n > 0 {
			last[id] = s.last().lastOffset
		}
	}
	return last
}

// Expire forgets producers that have appended nothing since before, and returns how many.
func (p *Producers) Expire(before time.Time) int {
	n := 0
	for id, s := range p.byID {
		if s.seen.Before(before) {
			delete(p.byID, id)
			n++
		}
	}
	return n
}

// Len is how many producers are known.
func (p *Producers) Len() int { return len(p.byID) }

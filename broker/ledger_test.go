package broker_test

import (
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ledger is what a broker has told its clients. All of it must be so after a power cut.
type ledger struct {
	mu        sync.Mutex
	batches   map[place]told
	positions map[position]*promise
	acks      int      // batches acknowledged
	broken    []string // promises that were broken in the telling
}

// place is where a batch begins.
type place struct {
	topic     string // its name or, where the protocol goes by ids, the 16 bytes of its id
	partition int32
	offset    int64
}

// told is what was said of a place: the checksum of the batch there, and by which answer.
type told struct {
	crc uint32
	by  string
}

// position is of a group, in a partition.
type position struct {
	group     string
	topic     string // as in place
	partition int32
}

// promise is what a group was told of a position. The next one may be any that was asked for since.
type promise struct {
	acked int64   // -1: none yet
	asked []int64 // since then, in order
}

func newLedger() *ledger {
	return &ledger{batches: map[place]told{}, positions: map[position]*promise{}}
}

func (l *ledger) broke(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = append(l.broken, fmt.Sprintf(format, args...))
}

// note takes down what stands at a place. Whatever was said of it before is the same (I2).
func (l *ledger) note(at place, is told) {
	if before, ok := l.batches[at]; ok && before.crc != is.crc {
		l.broken = append(l.broken, fmt.Sprintf("I2: %v was %s as %08x, and is %s as %08x", at, before.by, before.crc, is.by, is.crc))
	}
	if before := l.batches[at]; before.by != byAck {
		l.batches[at] = is
	}
}

const (
	byAck   = "acknowledged"
	byFetch = "served"
)

// produced notes which batches were acknowledged.
func (l *ledger) produced(asked *kmsg.ProduceRequest, answer *kmsg.ProduceResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := map[place]batch{}
	for _, t := range asked.Topics {
		for _, p := range t.Partitions {
			sent[place{topicKey(t.Topic, t.TopicID), p.Partition, 0}] = batch(p.Records)
		}
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				continue
			}
			topic := topicKey(t.Topic, t.TopicID)
			l.note(place{topic, p.Partition, p.BaseOffset}, told{sent[place{topic, p.Partition, 0}].crc(), byAck})
			l.acks++
		}
	}
}

// fetched notes which batches somebody was shown (I3: what was served stays).
func (l *ledger) fetched(answer *kmsg.FetchResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			for b := range batches(p.RecordBatches) {
				l.note(place{topicKey(t.Topic, t.TopicID), p.Partition, b.baseOffset()}, told{b.crc(), byFetch})
			}
		}
	}
}

func (l *ledger) commitAsked(r *kmsg.OffsetCommitRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			at := position{r.Group, topicKey(t.Topic, t.TopicID), p.Partition}
			if l.positions[at] == nil {
				l.positions[at] = &promise{acked: -1}
			}
			l.positions[at].asked = append(l.positions[at].asked, p.Offset)
		}
	}
}

// committed notes which positions were acknowledged. A client of the shop has one commit of a position under way.
func (l *ledger) committed(asked *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	offsets := map[position]int64{}
	for _, t := range asked.Topics {
		for _, p := range t.Partitions {
			offsets[position{asked.Group, topicKey(t.Topic, t.TopicID), p.Partition}] = p.Offset
		}
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				continue
			}
			at := position{asked.Group, topicKey(t.Topic, t.TopicID), p.Partition}
			l.positions[at].acked = offsets[at]
			if i := slices.Index(l.positions[at].asked, offsets[at]); i >= 0 {
				l.positions[at].asked = l.positions[at].asked[i+1:]
			}
		}
	}
}

// audit compares what was told with what is there, and gives each promise that is broken.
func (l *ledger) audit(is *image) (broken []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	broken, l.broken = l.broken, nil
	for at, was := range l.batches {
		name := is.name(at.topic)
		switch crc, there := is.batches[place{name, at.partition, at.offset}]; {
		case !there:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has nothing at %d, where a batch was %s", name, at.partition, at.offset, was.by))
		case crc != was.crc:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has %08x at %d, where %08x was %s", name, at.partition, crc, at.offset, was.crc, was.by))
		}
	}
	for at, p := range l.positions {
		name := is.name(at.topic)
		got, there := is.positions[position{at.group, name, at.partition}]
		if !there {
			got = -1
		}
		if got != p.acked && !slices.Contains(p.asked, got) {
			broken = append(broken, fmt.Sprintf("I6: %s stands at %d of %s/%d; it was told %d, and asked since for %v", at.group, got, name, at.partition, p.acked, p.asked))
		}
	}
	slices.Sort(broken)
	return broken
}

// counts tells how many batches were acknowledged and how many promises are kept in mind.
func (l *ledger) counts() (acks, promises int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks, len(l.batches) + len(l.positions)
}

func topicKey(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	return string(id[:])
}

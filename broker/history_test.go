package broker_test

import (
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// history is what a broker has told its clients. All of it must still be true after a power cut. The invariants I1 to
// I9 that violations name are those of docs/faults.md. mu protects all fields.
type history struct {
	mu         sync.Mutex
	batches    map[batchKey]observation
	records    map[batchKey]keyed // acknowledged records, by the offset of each
	positions  map[positionKey]*positionHistory
	acks       int      // number of acknowledged batches
	violations []string // found while recording
	changed    []change // violations of I2 found while recording, which do not count in compacted topics
}

// batchKey is the place of a batch, or of a record, in the log.
type batchKey struct {
	topic     string // the topic's name, or the 16 bytes of its id in requests and responses that use ids
	partition int32
	offset    int64
}

// observation is a batch that a client has seen: its checksum, and whether it was acknowledged or served.
type observation struct {
	crc uint32
	by  string
}

// change is a batch that was seen with different checksums at the same place.
type change struct {
	at   batchKey
	text string
}

// positionKey names a group's position in a partition.
type positionKey struct {
	group     string
	topic     string // as in batchKey
	partition int32
}

// positionHistory is what a group has been told of its position in a partition, and the commits without a response
// since then. Each of these may have become durable.
type positionHistory struct {
	acked int64   // the last acknowledged offset; -1 if there is none
	asked []int64 // offsets of later commits without a response, in order
}

// newHistory returns an empty history.
func newHistory() *history {
	return &history{batches: map[batchKey]observation{}, records: map[batchKey]keyed{}, positions: map[positionKey]*positionHistory{}}
}

// violation adds a violation.
func (h *history) violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf(format, args...))
}

// record adds an observation of the batch at a place. If an earlier observation had another checksum there, it adds a
// violation of I2. mu must be held.
func (h *history) record(at batchKey, is observation) {
	if before, ok := h.batches[at]; ok && before.crc != is.crc {
		h.changed = append(h.changed, change{at, fmt.Sprintf("I2: %v was %s as %08x, and is %s as %08x", at, before.by, before.crc, is.by, is.crc)})
	}
	if before := h.batches[at]; before.by != byAck {
		h.batches[at] = is
	}
}

// The values of observation.by.
const (
	byAck   = "acknowledged"
	byFetch = "served"
)

// recordProduce adds the batches that a Produce response acknowledges.
func (h *history) recordProduce(asked *kmsg.ProduceRequest, answer *kmsg.ProduceResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := map[batchKey]batch{}
	for _, t := range asked.Topics {
		for _, p := range t.Partitions {
			sent[batchKey{topicKey(t.Topic, t.TopicID), p.Partition, 0}] = batch(p.Records)
		}
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				continue
			}
			topic := topicKey(t.Topic, t.TopicID)
			appended := sent[batchKey{topic, p.Partition, 0}]
			h.record(batchKey{topic, p.Partition, p.BaseOffset}, observation{appended.crc(), byAck})
			for offset, r := range recordsOf(appended, p.BaseOffset) {
				h.records[batchKey{topic, p.Partition, offset}] = r
			}
			h.acks++
		}
	}
}

// recordFetch adds the batches in a Fetch response: a batch that was served must not disappear (I3).
func (h *history) recordFetch(answer *kmsg.FetchResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			for b := range batches(p.RecordBatches) {
				h.record(batchKey{topicKey(t.Topic, t.TopicID), p.Partition, b.baseOffset()}, observation{b.crc(), byFetch})
			}
		}
	}
}

// recordCommitRequest adds the positions in an OffsetCommit request, before it is sent.
func (h *history) recordCommitRequest(r *kmsg.OffsetCommitRequest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			at := positionKey{r.Group, topicKey(t.Topic, t.TopicID), p.Partition}
			if h.positions[at] == nil {
				h.positions[at] = &positionHistory{acked: -1}
			}
			h.positions[at].asked = append(h.positions[at].asked, p.Offset)
		}
	}
}

// recordCommit adds the positions that an OffsetCommit response acknowledges. In the shop, a client has at most one
// commit of a position in flight.
func (h *history) recordCommit(asked *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	offsets := map[positionKey]int64{}
	for _, t := range asked.Topics {
		for _, p := range t.Partitions {
			offsets[positionKey{asked.Group, topicKey(t.Topic, t.TopicID), p.Partition}] = p.Offset
		}
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				continue
			}
			at := positionKey{asked.Group, topicKey(t.Topic, t.TopicID), p.Partition}
			h.positions[at].acked = offsets[at]
			if i := slices.Index(h.positions[at].asked, offsets[at]); i >= 0 {
				h.positions[at].asked = h.positions[at].asked[i+1:]
			}
		}
	}
}

// check compares the history with the content of a broker, and returns the violations in alphabetical order.
func (h *history) check(is *logContents) (broken []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	broken, h.violations = h.violations, nil
	for _, c := range h.changed {
		if !compacted(is.name(c.at.topic)) {
			broken = append(broken, c.text)
		}
	}
	h.changed = nil
	broken = append(broken, h.checkCompacted(is)...)
	for at, was := range h.batches {
		name := is.name(at.topic)
		if compacted(name) {
			continue
		}
		switch crc, there := is.batches[batchKey{name, at.partition, at.offset}]; {
		case !there:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has nothing at %d, where a batch was %s", name, at.partition, at.offset, was.by))
		case crc != was.crc:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has %08x at %d, where %08x was %s", name, at.partition, crc, at.offset, was.crc, was.by))
		}
	}
	for at, p := range h.positions {
		name := is.name(at.topic)
		got, there := is.positions[positionKey{at.group, name, at.partition}]
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

// counts returns the number of acknowledged batches, and the number of batches and positions that check compares.
func (h *history) counts() (acks, promises int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acks, len(h.batches) + len(h.positions)
}

// topicKey returns the name, or the 16 bytes of the id if name is empty.
func topicKey(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	return string(id[:])
}

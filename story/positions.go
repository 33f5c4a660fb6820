package story

import (
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// The position of the index in a partition is the offset of the next record to read. All records before it are in the
// index, or were removed from the log before the index could read them.

// position returns the position of the index in partition p of the topic that has the name now. It returns 0 if it
// has read nothing of the partition.
func (ix *Index) position(topic string, p int32) int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	n, ok := ix.topics[topic]
	if !ok {
		return 0
	}
	return ix.positions[partition{n, p}]
}

// readFrom returns the offset from which the client should read partition p of the topic that has the name now. It is the
// offset of the last record that the index has read, so that differs can compare that record again. It is the position
// instead if the index has read no record of the partition, or has been advanced past removed records since.
func (ix *Index) readFrom(topic string, p int32) int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	n, ok := ix.topics[topic]
	if !ok {
		return 0
	}
	at := partition{n, p}
	if t := ix.tails[at]; t != nil && t.last >= 0 && t.last == ix.positions[at]-1 {
		return t.last
	}
	return ix.positions[at]
}

// targets has the offsets up to which an index is to read, by topic and partition. A topic is named by its name and id: if
// it is deleted, and another one is created under its name, the target is not one in the other topic.
type targets map[topicKey]map[int32]int64

// targetsIn returns the targets at ends, which are offsets in the given topics.
func targetsIn(topics []logclient.Topic, ends logclient.Offsets) targets {
	t := make(targets)
	for _, topic := range topics {
		t[topicKey{topic.Name, topic.ID}] = ends[topic.Name]
	}
	return t
}

// left returns the number of offsets that the index must read until its positions reach the targets. Topics that were
// deleted since are ignored.
func (ix *Index) left(t targets) (n int64) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for key, partitions := range t {
		num, ok := ix.topicByID[key]
		if !ok || ix.topicOf[num].gone {
			continue
		}
		for p, end := range partitions {
			n += max(0, end-ix.positions[partition{num, p}])
		}
	}
	return n
}

// within reports whether the index has read nothing beyond ends.
func (ix *Index) within(ends logclient.Offsets) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for topic, partitions := range ends {
		for p, end := range partitions {
			if n, ok := ix.topics[topic]; ok && ix.positions[partition{n, p}] > end {
				return false
			}
		}
	}
	return true
}

// miss is what the index has not read of a partition, and what may have followed from it.
type miss struct {
	// Range has the offsets of all records that were removed from the log before the index had read them; those between may have been read.
	offsets.Range
	// end is the end of the partition when the index was last advanced past removed records, of whatever partition. What handlers have emitted for
	// events from there on was appended after those records.
	end int64
}

// hasMissed reports whether the index is behind starts, the first offsets in the log, in a partition that it knows.
func (ix *Index) hasMissed(starts logclient.Offsets) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for topic, partitions := range starts {
		for p, start := range partitions {
			if n, ok := ix.topics[topic]; ok && ix.positions[partition{n, p}] < start {
				return true
			}
		}
	}
	return false
}

// removedBefore returns the first offsets of a poll, by topic and partition, where the log begins behind the position of the index: what is
// between was removed. Where the log begins earlier, records may be missing for other reasons: compaction, or a transaction that was aborted. It
// leaves out topics that were deleted, as recordsOf does.
func (ix *Index) removedBefore(polled kgo.Fetches) logclient.Offsets {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	starts := make(logclient.Offsets)
	polled.EachTopic(func(t kgo.FetchTopic) {
		n, ok := ix.topics[t.Topic]
		if !ok || !obligation.TopicID(t.TopicID).Is(ix.topicOf[n].id) {
			return
		}
		for _, p := range t.Partitions {
			if len(p.Records) == 0 {
				continue
			}
			if start := min(p.LogStartOffset, p.Records[0].Offset); start > ix.positions[partition{n, p.Partition}] {
				if starts[t.Topic] == nil {
					starts[t.Topic] = make(map[int32]int64)
				}
				starts[t.Topic][p.Partition] = start
			}
		}
	})
	return starts
}

// advance raises the positions of the index to starts, where records were removed from the log that the index had not read: by retention,
// by DeleteRecords, or with the memory of a broker. It logs a warning for each such partition. It writes to the index only if
// a position has to be raised. ends are the ends of all topics, which were read after starts.
func (ix *Index) advance(starts, ends logclient.Offsets) error {
	if !ix.hasMissed(starts) {
		return nil
	}
	return ix.write(func(tx *writeTx) {
		for topic, partitions := range starts {
			for i, start := range partitions {
				p := partition{tx.topicNum(topic), i}
				if from := ix.positions[p]; from < start {
					ix.log.Warn("story index has missed what was removed from the log", "topic", topic, "partition", i, "from", from, "to", start)
					m := ix.missed[p]
					if m.Lo == m.Hi {
						m.Lo = from
					}
					m.Hi = start
					ix.positions[p], ix.missed[p] = start, m
					tx.moved[p] = struct{}{}
				}
			}
		}
		tx.noteEnds(ends)
	})
}

// noteEnds sets the end of each miss. All events that were read of topics that are not in ends were there before.
func (tx *writeTx) noteEnds(ends logclient.Offsets) {
	note := func(p partition, end int64) {
		m := tx.ix.missed[p]
		m.end = end
		tx.ix.missed[p] = m
		tx.moved[p] = struct{}{}
	}
	for p := range tx.ix.positions {
		note(p, math.MaxInt64)
	}
	for topic, partitions := range ends {
		for p, end := range partitions {
			if n, ok := tx.ix.topics[topic]; ok {
				note(partition{n, p}, end)
			}
		}
	}
}

// marksRemoved reports whether records of tidings.reactions were removed before the index had read them. ix.mu must be held.
func (ix *Index) marksRemoved() bool {
	m := ix.missed[partition{ix.topics[obligation.ReactionsTopic], 0}]
	return m.Lo < m.Hi
}

// allMissed returns the offset after what was removed unread of each partition of which something was. ix.mu must be held.
func (ix *Index) allMissed() (all []location) {
	for p, m := range ix.missed {
		if m.Lo < m.Hi {
			all = append(all, location{p, m.Hi})
		}
	}
	return all
}

package story

import "tidings.dev/internal/logclient"

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

// advance raises the positions of the index to starts, the first offsets in the log, where retention has removed
// records that the index had not read. It logs a warning for each such partition. It writes to the index only if a
// position has to be raised.
func (ix *Index) advance(starts logclient.Offsets) error {
	behind := false
	ix.mu.RLock()
	for topic, partitions := range starts {
		for p, start := range partitions {
			n, ok := ix.topics[topic]
			behind = behind || ok && ix.positions[partition{n, p}] < start
		}
	}
	ix.mu.RUnlock()
	if !behind {
		return nil
	}
	return ix.write(func(tx *writeTx) {
		for topic, partitions := range starts {
			for i, start := range partitions {
				p := partition{tx.topicNum(topic), i}
				if ix.positions[p] < start {
					ix.log.Warn("story index has missed what retention removed", "topic", topic, "partition", i, "from", ix.positions[p], "to", start)
					ix.positions[p] = start
					ix.missed[p] = true
					tx.moved[p] = struct{}{}
				}
			}
		}
	})
}

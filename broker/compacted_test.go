package broker_test

import (
	"fmt"

	format "tidings.dev/internal/batch"
	"tidings.dev/internal/obligation"
)

// Compaction rewrites the batches of a topic with fewer records in them. For the framework's compacted topics the tests
// therefore compare records instead of batches: each acknowledged record must still be there, unless a later record
// with the same key was acknowledged.

// compacted reports whether topic is one of the framework's compacted topics.
func compacted(topic string) bool {
	return topic == obligation.SubscriptionsTopic || topic == obligation.ProgressTopic
}

// keyed is the key and the value of a record in a compacted topic.
type keyed struct{ key, value string }

// recordsOf returns the records of the batch b by offset. base is the offset at which the batch was appended.
func recordsOf(b []byte, base int64) map[int64]keyed {
	records := make(map[int64]keyed)
	v := format.View(b)
	for r, err := range format.Records(v, 1<<24) {
		if err != nil {
			panic(err) // cannot happen: the broker has accepted the batch
		}
		records[base+r.Offset-v.BaseOffset()] = keyed{string(r.Key), string(r.Value)}
	}
	return records
}

// checkCompacted compares the acknowledged records of compacted topics with those in the log, and returns the
// violations of invariant I1.
func (h *history) checkCompacted(is *logContents) (broken []string) {
	type key struct {
		topic     string
		partition int32
		key       string
	}
	newest := make(map[key]int64)
	for at, r := range h.records {
		if name := is.name(at.topic); compacted(name) {
			k := key{name, at.partition, r.key}
			newest[k] = max(newest[k], at.offset)
		}
	}
	for at, was := range h.records {
		name := is.name(at.topic)
		if !compacted(name) {
			continue
		}
		switch got, there := is.records[batchKey{name, at.partition, at.offset}]; {
		case there && got != was:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has %q at %d, where %q was acknowledged", name, at.partition, got, at.offset, was))
		case !there && was.value != "" && newest[key{name, at.partition, was.key}] == at.offset:
			broken = append(broken, fmt.Sprintf("I1: %s/%d has nothing at %d, where the last record of %q was acknowledged", name, at.partition, at.offset, was.key))
		}
	}
	return broken
}

package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// ListOffsets (API key 2), versions 1–11.
//
// Deviations from Apache Kafka: there is no tiered storage, so that the local log is the whole log, and no offset is in
// remote storage.

// Negative timestamps that stand for places in the log, in addition to Earliest, Latest and MaxTimestamp of package
// engine.
const (
	earliestLocal         = -4 // KIP-405, version 8 and later
	latestTiered          = -5 // KIP-1005, version 9 and later
	earliestPendingUpload = -6 // KIP-1023, version 11 and later
)

// minListOffsets returns the first version in which a timestamp may be asked for, or noVersion for a negative one that
// stands for nothing.
func minListOffsets(timestamp int64) int16 {
	switch {
	case timestamp >= 0, timestamp == engine.Earliest, timestamp == engine.Latest:
		return 0
	case timestamp == engine.MaxTimestamp:
		return 7 // KIP-734
	case timestamp == earliestLocal:
		return 8
	case timestamp == latestTiered:
		return 9
	case timestamp == earliestPendingUpload:
		return 11
	}
	return noVersion
}

// listOffsets answers, for each partition, with the offset of a timestamp or of a place in the log.
func (c *conn) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, 0, len(r.Topics))
	times := make(map[engine.Partition]int) // how many times the request names a partition
	for _, t := range r.Topics {
		if topic, known := c.server.engine.Topic(t.Topic); known {
			for _, p := range t.Partitions {
				times[engine.Partition{Topic: topic.ID, Index: p.Partition}]++
			}
		}
	}
	for _, t := range r.Topics {
		topic, known := c.server.engine.Topic(t.Topic)
		row := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		row.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			listed, code := engine.Listed{Offset: -1, Timestamp: -1, LeaderEpoch: -1}, unknownTopicOrPartition
			id := engine.Partition{Topic: topic.ID, Index: p.Partition}
			switch {
			case !known || !within(topic, p.Partition):
			case times[id] > 1: // one row for a partition that is named twice, as in Apache Kafka
				code = invalidRequest
				times[id] = 0
			case times[id] == 0: // answered already
				continue
			case r.Version < minListOffsets(p.Timestamp):
				code = unsupportedVersion
			default:
				listed, code = c.offsetFor(id, p.CurrentLeaderEpoch, p.Timestamp, r.IsolationLevel == readCommitted)
			}
			row.Partitions = append(row.Partitions, kmsg.ListOffsetsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code,
				Offset: listed.Offset, Timestamp: listed.Timestamp, LeaderEpoch: listed.LeaderEpoch,
			})
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// offsetFor returns the first offset in p whose record has this timestamp or a later one, or the offset of the place
// that a negative timestamp stands for. Offset -1 with the code none means that there is no such record. epoch is the
// client's leader epoch, or -1. If committed is true, the latest offset is the last stable one, and records above that are
// not found.
func (c *conn) offsetFor(p engine.Partition, epoch int32, timestamp int64, committed bool) (engine.Listed, Code) {
	nowhere := engine.Listed{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	if code := c.checkEpoch(p, epoch); code != none {
		return nowhere, code
	}
	switch timestamp {
	case earliestLocal:
		timestamp = engine.Earliest
	case latestTiered, earliestPendingUpload:
		return nowhere, none
	}
	listed, err := c.server.engine.OffsetFor(p, timestamp)
	if err == nil && committed {
		var stable engine.Listed
		if stable, err = c.server.engine.LastStable(p); err == nil && listed.Offset > stable.Offset {
			listed = stable
			if timestamp != engine.Latest && timestamp != engine.Earliest {
				listed = nowhere
			}
		}
	}
	if err != nil {
		return nowhere, dataCode(err)
	}
	return listed, none
}

// checkEpoch returns none if epoch is the leader epoch of p, or is negative; else the code for an epoch that is too old
// or unknown (KIP-320).
func (c *conn) checkEpoch(p engine.Partition, epoch int32) Code {
	if epoch < 0 {
		return none
	}
	switch current := c.server.engine.LeaderEpoch(p); {
	case epoch < current:
		return fencedLeaderEpoch
	case epoch > current:
		return unknownLeaderEpoch
	}
	return none
}

// within reports whether t has a partition with this index.
func within(t meta.Topic, index int32) bool { return index >= 0 && index < t.Partitions }

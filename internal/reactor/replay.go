package reactor

import (
	"context"
	"time"

	"tidings.dev/internal/logclient"
)

const (
	// replayBytes is about how many bytes of a partition are read again at an assignment to fill its window.
	replayBytes = 16 << 20
	// replayProbe is the number of newest records whose size is taken for that of all records of a partition. A window
	// of up to replayUnprobed records is read again whatever their size.
	replayProbe    = 64
	replayUnprobed = 1024
	// replayProbeTimeout is how long reading these records may take. A partition of which none was read by then is
	// read again from the beginning of its window.
	replayProbeTimeout = 5 * time.Second
)

// boundReplays raises replayFrom of assignments so that about replayBytes of each partition are read again. Only the
// identities of these records are needed, but the payloads come with them, and large ones would delay the assignment.
// With state it does nothing, because all of a partition is read.
func (r *Reactor) boundReplays(ctx context.Context, taken []assignment) error {
	if r.stateful {
		return nil
	}
	from, until := make(logclient.Offsets), make(logclient.Offsets)
	for i := range taken {
		a := &taken[i]
		if a.position-a.replayFrom <= replayUnprobed {
			continue
		}
		if from[a.topic] == nil {
			from[a.topic], until[a.topic] = make(map[int32]int64), make(map[int32]int64)
		}
		from[a.topic][a.partition], until[a.topic][a.partition] = a.position-replayProbe, a.position
	}
	if len(from) == 0 {
		return nil
	}
	bytes := make(map[topicPartition]int64)
	probe, cancel := context.WithTimeout(ctx, replayProbeTimeout)
	defer cancel()
	for fetched, err := range r.client.Read(probe, from, until) {
		if err != nil {
			if probe.Err() != nil && ctx.Err() == nil {
				break // compaction may have removed the last of the records, and then nothing else ends the reading
			}
			return err
		}
		size := len(fetched.Key) + len(fetched.Value)
		for _, h := range fetched.Headers {
			size += len(h.Key) + len(h.Value)
		}
		bytes[topicPartition{fetched.Topic, fetched.Partition}] += int64(size)
	}
	for i := range taken {
		a := &taken[i]
		a.replayFrom = max(a.replayFrom, a.position-replayable(bytes[a.topicPartition]))
	}
	return nil
}

// replayable returns the number of records that may be read again if the newest replayProbe records take probed bytes.
// It is at least replayProbe, and MaxWindow if probed is 0.
func replayable(probed int64) int64 {
	if probed == 0 {
		return MaxWindow
	}
	return max(replayProbe, replayBytes*replayProbe/probed)
}

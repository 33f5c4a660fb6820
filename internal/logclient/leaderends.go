package logclient

import (
	"context"
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// LeaderEnds has the offsets at which leader epochs end. What was read in an epoch is still in the log as far as it lies below the end
// of the epoch (KIP-320): the log may have lost its end since, and have other records there now. The zero value is empty, and ready
// for Want. It is not safe for concurrent use.
type LeaderEnds struct {
	ends  map[leaderEpoch]int64
	asked map[leaderEpoch]bool
}

type leaderEpoch struct {
	topic     string
	partition int32
	epoch     int32
}

// Want adds an epoch of a partition, whose end Ask is to ask for. It reports whether the epoch is new.
func (l *LeaderEnds) Want(topic string, partition, epoch int32) bool {
	if l.ends == nil {
		l.ends, l.asked = make(map[leaderEpoch]int64), make(map[leaderEpoch]bool)
	}
	e := leaderEpoch{topic, partition, epoch}
	if _, ok := l.ends[e]; ok {
		return false
	}
	l.ends[e] = math.MaxInt64
	return true
}

// Ask asks the log for the ends of the epochs that were added since the last Ask. The partitions must exist. It makes one request to each
// broker for each epoch of the partition that has most. If the brokers do not support that, the epochs have no end.
func (l *LeaderEnds) Ask(ctx context.Context, client *Client) error {
	for {
		epochs := make(Epochs) // one of each partition, as the request takes them
		for e := range l.ends {
			if l.asked[e] {
				continue
			}
			if epochs[e.topic] == nil {
				epochs[e.topic] = make(map[int32]int32)
			}
			epochs[e.topic][e.partition] = e.epoch
		}
		if len(epochs) == 0 {
			return nil
		}
		ends, err := client.EpochEnds(ctx, epochs)
		if errors.Is(err, kerr.UnsupportedVersion) {
			return nil
		}
		if err != nil {
			return err
		}
		for topic, partitions := range epochs {
			for p, epoch := range partitions {
				e := leaderEpoch{topic, p, epoch}
				l.asked[e] = true
				if end, ok := ends[topic][p]; ok {
					l.ends[e] = end.Of(epoch)
				}
			}
		}
	}
}

// Of returns the end of an epoch: LostEpoch if the log does not know it, and the highest int64 if the end is not known or the epoch
// was not added.
func (l *LeaderEnds) Of(topic string, partition, epoch int32) int64 {
	if end, ok := l.ends[leaderEpoch{topic, partition, epoch}]; ok {
		return end
	}
	return math.MaxInt64
}

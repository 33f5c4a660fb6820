package reactor

import (
	"context"
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// leaderEnds has the offsets at which leader epochs end, by partition and epoch. What was read in an epoch is still in the log as far as it lies
// below the end of the epoch (KIP-320): the log may have lost its end since, and have other records there now.
type leaderEnds map[topicPartition]map[int32]int64

// lostEpoch is the end of an epoch that the log does not know: nothing of it is in the log.
const lostEpoch = -1

// want adds an epoch of a partition, whose end is not known yet.
func (l leaderEnds) want(tp topicPartition, epoch int32) {
	if l[tp] == nil {
		l[tp] = make(map[int32]int64)
	}
	l[tp][epoch] = math.MaxInt64
}

// ask asks the log for the ends. If the brokers do not support that, the epochs have no end.
func (l leaderEnds) ask(ctx context.Context, client *logclient.Client) error {
	asked := make(map[topicPartition]map[int32]bool)
	for {
		epochs := make(logclient.Epochs) // one of each partition, as the request takes them
		for tp, of := range l {
			for epoch := range of {
				if asked[tp][epoch] {
					continue
				}
				if epochs[tp.topic] == nil {
					epochs[tp.topic] = make(map[int32]int32)
				}
				epochs[tp.topic][tp.partition] = epoch
			}
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
				tp := topicPartition{topic, p}
				if asked[tp] == nil {
					asked[tp] = make(map[int32]bool)
				}
				asked[tp][epoch] = true
				if end, ok := ends[topic][p]; ok {
					l[tp][epoch] = end.Offset // lostEpoch if the log does not know it
				}
			}
		}
	}
}

// believable returns what of marks is about records that are in the log.
func (l leaderEnds) believable(tp topicPartition, m *obligation.Marks) *obligation.Marks {
	if m.Leader == nil {
		return m
	}
	if end, ok := l[tp][*m.Leader]; ok {
		return m.Below(max(0, end))
	}
	return m
}

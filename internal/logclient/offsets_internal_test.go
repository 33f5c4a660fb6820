package logclient

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A client that heard of a topic before it was made is asked until it has heard again, and no longer than one waits for a
// connection; any other error is reported at once.
func TestOffsetsOfATopicThatWasJustMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		answering := func(err error, from int) func(context.Context) (Offsets, error) {
			asked = 0
			return func(context.Context) (Offsets, error) {
				if asked++; asked < from {
					return nil, err
				}
				return Offsets{"orders": {0: 7}}, nil
			}
		}
		got, err := untilKnown(t.Context(), time.Second, answering(kerr.UnknownTopicOrPartition, 3))
		if err != nil || got["orders"][0] != 7 || asked != 3 {
			t.Errorf("%v, %v after %d questions", got, err, asked)
		}
		if _, err := untilKnown(t.Context(), time.Second, answering(kerr.LeaderNotAvailable, 3)); err != nil || asked != 3 {
			t.Errorf("a topic without a leader yet: %v after %d questions", err, asked)
		}
		began := time.Now()
		if _, err := untilKnown(t.Context(), time.Second, answering(kerr.UnknownTopicOrPartition, 1000)); !errors.Is(err, kerr.UnknownTopicOrPartition) || time.Since(began) != time.Second {
			t.Errorf("a topic that stays unknown: %v after %v", err, time.Since(began))
		}
		if _, err := untilKnown(t.Context(), time.Second, answering(kerr.TopicAuthorizationFailed, 3)); !errors.Is(err, kerr.TopicAuthorizationFailed) || asked != 1 {
			t.Errorf("a topic that is not ours: %v after %d questions", err, asked)
		}
	})
}

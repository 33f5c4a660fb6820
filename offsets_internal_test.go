package tidings

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A client that heard of a topic before it was made is asked until it has heard again, and no longer than one waits for a
// connection; any other error is told at once.
func TestOffsetsOfATopicThatWasJustMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topics := &topics{app: &App{opts: appOptions{connectTimeout: time.Second}}}
		asked := 0
		answering := func(err error, from int) func(context.Context, ...string) (kadm.ListedOffsets, error) {
			asked = 0
			return func(_ context.Context, of ...string) (kadm.ListedOffsets, error) {
				if asked++; asked < from {
					return kadm.ListedOffsets{of[0]: {-1: {Topic: of[0], Partition: -1, Err: err}}}, nil
				}
				return kadm.ListedOffsets{of[0]: {0: {Topic: of[0], Offset: 7}}}, nil
			}
		}
		got, err := topics.list(t.Context(), []string{"orders"}, answering(kerr.UnknownTopicOrPartition, 3))
		if err != nil || got["orders"][0] != 7 || asked != 3 {
			t.Errorf("%v, %v after %d questions", got, err, asked)
		}
		began := time.Now()
		if _, err := topics.list(t.Context(), []string{"orders"}, answering(kerr.UnknownTopicOrPartition, 1000)); !errors.Is(err, kerr.UnknownTopicOrPartition) || time.Since(began) != time.Second {
			t.Errorf("a topic that stays unknown: %v after %v", err, time.Since(began))
		}
		if _, err := topics.list(t.Context(), []string{"orders"}, answering(kerr.TopicAuthorizationFailed, 3)); !errors.Is(err, kerr.TopicAuthorizationFailed) || asked != 1 {
			t.Errorf("a topic that is not ours: %v after %d questions", err, asked)
		}
	})
}

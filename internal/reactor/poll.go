package reactor

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// maxPolled is the number of records that are taken from kgo at a time. What kgo has beyond that stays where it is, so that
	// memory exceeds the budget by no more than so many events.
	maxPolled = 2048
	// maxArrived is the number of records of one partition that are passed to the scheduler at a time, while r.mu is held.
	maxArrived = 1024
)

// poll takes in fetched records until ctx is done, the instance stands down, or the reaction cannot go on. stood
// reports whether the instance has stood down; err is the reason why the reaction cannot go on.
func (r *Reactor) poll(ctx context.Context) (stood bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case err = <-r.fatal:
			stop()
		case <-r.stood:
			stood = true
			stop()
		case <-ctx.Done():
		}
	}()
	var records []record // reused for each partition; its elements are zero in between
	for ctx.Err() == nil {
		fetches := r.group.PollRecords(ctx, maxPolled)
		fetches.EachError(func(topic string, partition int32, err error) {
			r.onFetchError(ctx, topicPartition{topic, partition}, err)
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				r.client.HasRead(p.Topic, p.Partition, p.Records[n-1].Offset, p.Records[n-1].LeaderEpoch)
			}
			reading := r.reading(p.Topic)
			for batch := range slices.Chunk(p.Records, maxArrived) {
				records = slices.Grow(records[:0], len(batch))[:len(batch)]
				for i, fetched := range batch {
					reading.read(fetched, &records[i])
				}
				r.arrive(topicPartition{p.Topic, p.Partition}, records, fetchedUnder(batch[0]))
				clear(records)
			}
		})
		r.awaitPolling(ctx)
	}
	<-done
	return stood, err
}

// awaitPolling blocks while polling is paused, or until ctx is done.
func (r *Reactor) awaitPolling(ctx context.Context) {
	r.mu.Lock()
	polling := r.polling
	r.mu.Unlock()
	select {
	case <-polling:
	case <-ctx.Done():
	}
}

// onFetchError handles an error of reading a partition or of the group: it makes the reaction fail, looks into the
// matter in the background, or logs the error.
func (r *Reactor) onFetchError(ctx context.Context, tp topicPartition, err error) {
	loss, isLoss := errors.AsType[*kgo.ErrDataLoss](err)
	session, isSession := errors.AsType[*kgo.ErrGroupSession](err)
	switch {
	case ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed):
	case errors.Is(err, kerr.OffsetOutOfRange):
		r.watching.Go(func() { r.onOutOfRange(ctx, tp) })
	case isGone(err) && tp.topic != "":
		r.watchTopic(tp.topic)
	case isLoss:
		r.watching.Go(func() {
			if !r.restartIfRemade(ctx, tp.topic) {
				r.restartLost(tp, loss.ConsumedTo, loss.ResetTo)
			}
		})
	case isSession && permanent(session.Err):
		r.failOfGroup(session.Err)
	case isSession:
		r.spec.Log.Warn("the group session ended; joining again", "error", session.Err)
	default:
		r.warnCannotRead(ctx, tp, err)
	}
}

// failOfGroup makes the reaction fail with an error of the group. If another instance has taken its static member name, leaving the
// group under that name would remove the other one.
func (r *Reactor) failOfGroup(err error) {
	if errors.Is(err, kerr.FencedInstanceID) {
		r.replaced.Store(true)
	}
	r.fail(err)
}

// permanent reports whether an error of the group would be the same at each further attempt.
func permanent(err error) bool {
	for _, e := range []error{kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.InvalidGroupID,
		kerr.InconsistentGroupProtocol, kerr.InvalidSessionTimeout, kerr.FencedInstanceID} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

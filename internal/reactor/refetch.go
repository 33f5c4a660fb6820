package reactor

import (
	"context"
	"time"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/offsets"
)

const (
	// refetchRetry is the pause after a refetch that has failed.
	refetchRetry = time.Second
	// refetchTimeout is how long a refetch waits for the next record from the log.
	refetchTimeout = 30 * time.Second
	// refetchBytes is the number of bytes that one refetch reads of a partition. After that it stops at the next
	// record that was asked for.
	refetchBytes = 8 << 20
	// refetchBatch is the number of asked records that are passed to the scheduler at a time.
	refetchBatch = 64
)

// refetchRounds reads events again whose payloads were dropped to save memory (backlog.go), until ctx is done. Each
// time the scheduler wants a refetch, it reads each partition once, from the first asked offset on. If a partition
// cannot be read, it logs that and goes on; the scheduler asks again.
func (r *Reactor) refetchRounds(ctx context.Context) {
	for {
		select {
		case <-r.refetches:
		case <-ctx.Done():
			return
		}
		parts := r.beginRefetch()
		if parts == nil {
			continue
		}
		for _, part := range parts {
			if err := r.refetch(ctx, part); err != nil && ctx.Err() == nil {
				r.spec.Log.Warn("events that wait for their turn cannot be read again; trying again", "topic", part.topic, "partition", part.partition, "error", err)
				select {
				case <-time.After(refetchRetry):
				case <-ctx.Done():
				}
			}
		}
		r.step(refetchEnded{})
	}
}

// beginRefetch reports refetchBegun and returns what the refetch is to read; nil if there is nothing.
func (r *Reactor) beginRefetch() (parts []refetchPart) {
	r.mu.Lock()
	defer r.mu.Unlock()
	effects := r.scheduler.step(refetchBegun{})
	for _, e := range effects {
		if e, ok := e.(refetch); ok {
			parts = e.parts
		}
	}
	r.performAll(effects, nil)
	return parts
}

// refetch reads the asked records of a partition and passes them to the scheduler. It may stop before the last asked
// record when it has read many bytes; the scheduler asks for the rest again.
func (r *Reactor) refetch(ctx context.Context, part refetchPart) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(refetchTimeout, cancel)
	defer late.Stop()

	tp, asked := part.topicPartition, part.offsets
	if lost, err := r.lostBelowStart(ctx, part, asked[0]); lost || err != nil {
		return err
	}
	at := func(offset int64) logclient.Offsets { return logclient.Offsets{tp.topic: {tp.partition: offset}} }
	reading := r.reading(tp.topic)
	found := refetched{incarnation: part.incarnation}
	firstMissing := int64(-1)
	var bytes, kept int64
	whole := true
	for fetched, err := range r.client.Read(ctx, at(asked[0]), at(asked[len(asked)-1]+1)) {
		if err != nil {
			return err
		}
		late.Reset(refetchTimeout)
		bytes += int64(len(fetched.Value))
		if len(asked) > 0 && fetched.Offset > asked[0] && firstMissing < 0 {
			firstMissing = asked[0]
		}
		for len(asked) > 0 && asked[0] < fetched.Offset {
			asked = asked[1:]
		}
		if len(asked) == 0 || asked[0] > fetched.Offset {
			continue
		}
		asked = asked[1:]
		kept += int64(len(fetched.Value))
		found.records = append(found.records, record{})
		reading.read(fetched, &found.records[len(found.records)-1])
		found.through = fetched.Offset + 1
		if len(asked) > 0 && (bytes > refetchBytes || kept > r.spec.Buffer/8) {
			whole = false
			break
		}
		if len(found.records) == refetchBatch && firstMissing < 0 {
			r.step(found)
			clear(found.records)
			found.records = found.records[:0]
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if whole && len(asked) > 0 {
		if firstMissing < 0 {
			firstMissing = asked[0]
		}
		found.through = part.offsets[len(part.offsets)-1] + 1
	}
	if firstMissing >= 0 { // the topic is compacted, or retention has deleted records
		if lost, err := r.lostBelowStart(ctx, part, firstMissing); lost || err != nil {
			return err
		}
	}
	r.step(found)
	return nil
}

// lostBelowStart reports whether retention has deleted the record at an offset that was asked for. If so, and if the
// partition is still owned, it makes the reaction fail with a *Lost.
func (r *Reactor) lostBelowStart(ctx context.Context, part refetchPart, offset int64) (lost bool, err error) {
	starts, err := r.client.Starts(ctx, part.topic)
	if err != nil {
		return false, err
	}
	start := starts[part.topic][part.partition]
	if start <= offset {
		return false, nil
	}
	r.mu.Lock()
	var ahead offsets.Set
	if p := r.scheduler.owned(part.incarnation); p != nil {
		ahead = p.tracker.ahead.Clone()
	}
	r.mu.Unlock()
	if r.owns(part.incarnation) {
		r.fail(r.newLost(part.topicPartition, offset, start, &ahead))
	}
	return true, nil
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// ErrPolicy: the topic's configuration does not allow it.
var ErrPolicy = errors.New("engine: the topic's configuration does not allow it")

// DeleteRecords makes before the first offset that may be read of a partition, and returns that: it is larger where
// retention or an earlier call went further. HighWatermark deletes everything there is. It is durable when this
// returns; segments that lie wholly below go at once. Errors match ErrOffsetOutOfRange (beyond the high watermark),
// ErrPolicy (cleanup.policy has no delete), ErrUnknownTopic, ErrUnknownPartition, ErrStorage and ErrClosed.
func (e *Engine) DeleteRecords(ctx context.Context, id Partition, before int64) (start int64, err error) {
	if !e.begin() {
		return -1, ErrClosed
	}
	defer e.inFlight.Done()
	p, err := e.part(id)
	if err := cmp.Or(err, ctx.Err(), e.Err()); err != nil {
		return -1, err
	}
	if p.limits().log.CompactOnly {
		return -1, fmt.Errorf("%w: cleanup.policy has no delete", ErrPolicy)
	}
	high := p.end()
	if before == HighWatermark {
		before = high
	}
	switch {
	case before < 0 || before > high:
		return -1, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, before, p.start(), high)
	case before <= p.start():
		return p.start(), nil
	case p.ring != nil: // nothing of it outlives the process
		p.ring.forgetBefore(before)
		return p.start(), nil
	}
	if err := e.moveStart(p, before); err != nil {
		return -1, err
	}
	e.room.want() // if the disk was full, it may no longer be
	return p.start(), nil
}

// HighWatermark stands for the end of a partition in DeleteRecords.
const HighWatermark = -1

// moveStart journals a new log start and deletes what lies below it: recovery from a checkpoint that still has the
// segments skips them. The lock keeps the boundary of a checkpoint from falling between the two: one that has passed the
// entry but not the deletion would forget the start, and miss the segments.
func (e *Engine) moveStart(p *part, start int64) error {
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := e.commit(kindLogStart, encodeLogStart(p.id, start)); err != nil {
		return err
	}
	p.io.Lock()
	defer p.io.Unlock()
	if p.deleted.Load() {
		return ErrUnknownTopic
	}
	if err := p.log.DeleteBefore(start); err != nil {
		// The start has moved. What could not be removed the next Open removes.
		e.log.Warn("files of deleted records could not be removed", "dir", p.dir, "err", err)
	}
	return nil
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"tidings.dev/internal/datadir"
)

// ErrPolicy means that the topic's configuration does not allow DeleteRecords.
var ErrPolicy = errors.New("engine: the topic's configuration does not allow it")

// DeleteRecords deletes the records of a partition with offsets below before, and returns the first offset that may be
// read then. That offset is higher than before if retention or an earlier call has deleted more. If before is
// HighWatermark, all records are deleted. When DeleteRecords returns nil, after about one sync, the deletion is
// durable; segments that are wholly below the new start are removed at once.
//
// Errors match ErrOffsetOutOfRange if before is negative or above the high watermark, ErrPolicy if cleanup.policy does
// not contain delete, ErrUnknownTopic, ErrUnknownPartition, ErrStorage and ErrClosed. ctx is only checked at the
// beginning.
func (e *Engine) DeleteRecords(ctx context.Context, id Partition, before int64) (start int64, err error) {
	if !e.life.beginRead() {
		return -1, ErrClosed
	}
	defer e.life.readers.Done()
	p, err := e.part(id)
	if err := cmp.Or(err, ctx.Err(), e.Err()); err != nil {
		return -1, err
	}
	if p.config().log.CompactOnly {
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
	case p.ring != nil: // records of a ring are in memory only, so there is nothing to make durable
		p.ring.forgetBefore(before)
		return p.start(), nil
	}
	if err := e.moveStart(p, before); err != nil {
		return -1, err
	}
	e.maintenance.requestSpaceCheck() // if the disk was full, there may be space now
	return p.start(), nil
}

// HighWatermark, as the argument before of DeleteRecords, means the high watermark of the partition.
const HighWatermark = -1

// moveStart journals start as the new log start of p and then deletes the records below it. A recovery from an older
// checkpoint, which still has the segments, replays the entry and skips them.
//
// moveStart holds topics.changeMu so that no checkpoint's boundary falls between the entry and the deletion: such a
// checkpoint would not contain the new start although its boundary covers the entry, and a recovery from it would find
// that segments are missing.
func (e *Engine) moveStart(p *part, start int64) error {
	e.topics.changeMu.Lock()
	defer e.topics.changeMu.Unlock()
	if err := e.commit(datadir.KindLogStart, datadir.EncodePartitionOffset(p.id, start)); err != nil {
		return err
	}
	p.io.Lock()
	defer p.io.Unlock()
	if p.deleted.Load() {
		return ErrUnknownTopic
	}
	if err := p.log.DeleteBefore(start); err != nil {
		// The start has moved all the same, and the next Open removes the files.
		e.log.Warn("files of deleted records could not be removed", "dir", p.dir, "err", err)
	}
	return nil
}

package engine

import (
	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
)

// OffsetFor returns the offset for a timestamp, as a ListOffsets request asks for it: the high watermark for Latest,
// the log's start for Earliest, and the offset of the record with the largest timestamp for MaxTimestamp. For a
// timestamp >= 0, in milliseconds since the Unix epoch, it returns the first record with that or a later timestamp. If
// there is no such record, Offset and Timestamp are -1 and the error is nil. OffsetFor may block to read from disk.
// Errors match ErrUnknownTopic, ErrUnknownPartition, batch.ErrCorrupt, ErrStorage or ErrClosed.
func (e *Engine) OffsetFor(id Partition, timestamp int64) (Listed, error) {
	if !e.life.beginRead() {
		return Listed{}, ErrClosed
	}
	defer e.life.readers.Done()
	p, err := e.part(id)
	if err != nil {
		return Listed{}, err
	}
	switch timestamp {
	case Latest:
		return Listed{Offset: p.end(), Timestamp: -1, LeaderEpoch: p.epoch.Load()}, nil
	case Earliest:
		start := p.start()
		return Listed{Offset: start, Timestamp: -1, LeaderEpoch: p.log.EpochAt(start)}, nil
	case MaxTimestamp:
		offset, ts := p.maxTimestamp()
		return p.listed(offset, ts), nil
	}
	offset, ts, ok, err := p.offsetForTime(timestamp)
	if err != nil {
		return Listed{}, e.readError(err)
	}
	if !ok {
		offset, ts = -1, -1
	}
	return p.listed(offset, ts), nil
}

// listed returns a Listed for a record. If offset is negative, which means that no record was found, the leader epoch
// is -1.
func (p *part) listed(offset, timestamp int64) Listed {
	l := Listed{Offset: offset, Timestamp: timestamp, LeaderEpoch: -1}
	if offset >= 0 {
		l.LeaderEpoch = p.log.EpochAt(offset)
	}
	return l
}

// LastStable returns the last stable offset of a partition, with its leader epoch, as a ListOffsets request for Latest in
// the isolation level read_committed asks for it: lag is counted to there (trap 27 of docs/kafka-traps.md). Errors match ErrUnknownTopic or ErrUnknownPartition.
func (e *Engine) LastStable(id Partition) (Listed, error) {
	p, err := e.part(id)
	if err != nil {
		return Listed{}, err
	}
	return Listed{Offset: p.lastStable(), Timestamp: -1, LeaderEpoch: p.epoch.Load()}, nil
}

// OpenTransactions returns the transactions of which a partition has batches and no marker. It is nil if there is no such
// partition.
func (e *Engine) OpenTransactions(id Partition) []partition.OpenTransaction {
	p, err := e.part(id)
	if err != nil {
		return nil
	}
	return p.log.OpenTransactions()
}

// SizeBytes returns the size of all batches of a partition. Errors match ErrUnknownTopic or ErrUnknownPartition.
func (e *Engine) SizeBytes(id Partition) (int64, error) {
	p, err := e.part(id)
	if err != nil {
		return 0, err
	}
	if p.ring == nil {
		return p.log.SizeBytes(), nil
	}
	size := int64(0)
	p.ring.each(func(v batch.View) bool {
		size += int64(len(v))
		return true
	})
	return size, nil
}

// EpochEnd returns the answer to an OffsetForLeaderEpoch request: the largest leader epoch of the partition that is at
// most epoch, and the offset at which that epoch ended, which for the current epoch is the high watermark. It returns
// -1, -1 if there is no such epoch. The error matches ErrUnknownTopic or ErrUnknownPartition.
func (e *Engine) EpochEnd(id Partition, epoch int32) (int32, int64, error) {
	p, err := e.part(id)
	if err != nil {
		return -1, -1, err
	}
	found, end := p.log.EpochEnd(epoch)
	return found, min(end, p.end()), nil
}

// LeaderEpoch returns the partition's current leader epoch, or -1 if there is no such partition. The epoch grows when a
// recovery may have lost records that consumers were served (trap 14 of docs/kafka-traps.md).
func (e *Engine) LeaderEpoch(id Partition) int32 {
	p, err := e.part(id)
	if err != nil {
		return -1
	}
	return p.epoch.Load()
}

// LeaderEpochs returns what LeaderEpoch returns for each partition of a topic, by index. It is nil if there is no such
// topic, and may have other partitions than the caller knows.
func (e *Engine) LeaderEpochs(topic meta.TopicID) []int32 {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	parts := e.topics.parts[topic]
	epochs := make([]int32, len(parts))
	for i, p := range parts {
		epochs[i] = p.epoch.Load()
	}
	return epochs
}

package engine

import (
	"fmt"
	"time"

	"tidings.dev/internal/datadir"
)

// producerExpiry is how long the engine keeps the sequence numbers of a producer that appends nothing. It is the
// default of Kafka's producer.id.expiration.ms.
const producerExpiry = 24 * time.Hour

// crowdedProducerExpiry is producerExpiry while nine of ten producers are in use. It is longer than any client retries.
const crowdedProducerExpiry = time.Hour

// hasRecords reports whether some partition's log has records. If none has, neither retention nor compaction becomes
// due as time passes.
func (e *Engine) hasRecords() bool {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	for p := range e.topics.parts.all() {
		if p.log.End() > p.log.Start() {
			return true
		}
	}
	return false
}

// applyRetention deletes the records that the topics' retention settings do not keep, and drops the state of producers
// that have been idle for producerExpiry. It journals a new log start before it deletes anything, so that a recovery
// from a checkpoint which still has the segments skips them. Only run calls it: run also takes the checkpoints, so that
// no checkpoint's boundary falls between the entry and the deletion.
func (m *maintenance) applyRetention() error {
	e := m.engine
	now := e.config.Now()
	expiry := producerExpiry
	if e.producers.Full() {
		expiry = crowdedProducerExpiry
	}
	for _, p := range e.allParts() {
		p.assign.Lock()
		p.producers.Expire(now.Add(-expiry))
		p.assign.Unlock()

		start := p.log.Retain(now, p.config().log)
		if start <= p.log.Start() {
			continue
		}
		if err := e.commit(datadir.KindLogStart, datadir.EncodePartitionOffset(p.id, start)); err != nil {
			return err
		}
		p.io.Lock()
		err := p.log.DeleteBefore(start)
		p.io.Unlock()
		if err != nil {
			return fmt.Errorf("engine: retention in %s: %w", p.dir, err)
		}
		e.log.Info("retention moved a log's start", "dir", p.dir, "start", start)
	}
	return nil
}

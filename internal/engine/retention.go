package engine

import (
	"fmt"
	"time"
)

// producerExpiry is how long an idle producer's sequence window is kept: Kafka's producer.id.expiration.ms.
const producerExpiry = 24 * time.Hour

// subjectToRetention says whether time alone can make anything go: records under a limit, or producer state.
func (e *Engine) subjectToRetention() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, p := range e.parts {
		if p.log.End() > p.log.Start() {
			return true
		}
	}
	return false
}

// retain deletes what the topics' configurations no longer keep, and forgets producers that are long silent. A new log
// start is journaled before anything is deleted: recovery from a checkpoint that still has the segments skips them.
func (e *Engine) retain() error {
	now := e.c.Now()
	for _, p := range e.allParts() {
		p.assign.Lock()
		p.producers.Expire(now.Add(-producerExpiry))
		p.assign.Unlock()

		start := p.log.Retain(now, p.limits().log)
		if start <= p.log.Start() {
			continue
		}
		if err := e.commit(kindLogStart, encodeLogStart(p.id, start)); err != nil {
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

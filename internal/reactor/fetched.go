package reactor

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A poll may return records of an assignment that has ended meanwhile. If the partition came back before those records
// are taken in, they would be mistaken for records of the new assignment, and the offsets between the new position and
// them for empty ones. So each record is tagged when kgo receives it, with the newest incarnation at that time. kgo
// receives no records of an assignment before the reactor owns it, nor after it has ended.

// fetchHook tags the records that a client receives. It is a hook of a kgo client.
type fetchHook struct{ newest atomic.Pointer[fetchTag] } // nil before the first assignment

// fetchTag is what a received record carries as its context: the newest incarnation at the time.
type fetchTag struct {
	context.Context
	newest incarnation
}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered: kgo calls it for each record that it has received.
func (h *fetchHook) OnFetchRecordBuffered(r *kgo.Record) {
	if tag := h.newest.Load(); tag != nil {
		r.Context = tag
	}
}

// fetchedUnder returns the newest incarnation at the time when a record was received, or 0 if there was none.
func fetchedUnder(r *kgo.Record) incarnation {
	if tag, ok := r.Context.(*fetchTag); ok {
		return tag.newest
	}
	return 0
}

// arrive passes fetched records to the scheduler. newest is the newest incarnation at the time when they were
// received. If the partition's incarnation is newer than that, arrive drops the records.
func (r *Reactor) arrive(tp topicPartition, records []record, newest incarnation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.scheduler.partitions[tp]; p != nil && p.incarnation <= newest {
		r.stepLocked(arrived{tp, records})
	}
}

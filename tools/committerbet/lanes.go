//go:build linux

package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// item is an event that a handler must be run for, in one incarnation of its partition.
type item struct {
	partition *partition
	offset    int64
	event     event
	attempt   int // number of failed attempts
}

// lane has the items of one subject in a partition, in order. A handler runs for the first item, or has finished and
// waits for its round.
type lane struct{ items []*item }

// poll polls records until ctx is done, and pauses while too many items are queued.
func (i *instance) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := i.client.PollRecords(ctx, 500)
		fetches.EachRecord(i.arrived)
		for ctx.Err() == nil && i.full() {
			time.Sleep(time.Millisecond)
		}
	}
}

func (i *instance) full() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.queued > maxQueued
}

// arrived adds a record to its lane.
func (i *instance) arrived(r *kgo.Record) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.owned[r.Partition]
	if p == nil || p.revoking || i.draining {
		return
	}
	// A poll may return records of the previous incarnation if the partition was revoked and assigned again
	// meanwhile; the new incarnation begins at another offset. Offsets of the source have no gaps, so any other
	// offset is stale.
	if r.Offset != p.next {
		say(note{What: noteStale})
		return
	}
	p.next++
	if p.tracker.isDone(r.Offset) {
		return
	}
	it := &item{partition: p, offset: r.Offset}
	if err := json.Unmarshal(r.Value, &it.event); err != nil {
		say(note{What: noteBroken, Why: "an event: " + err.Error()})
		return
	}
	l := p.lanes[it.event.Subject]
	if l == nil {
		l = &lane{}
		p.lanes[it.event.Subject] = l
	}
	l.items = append(l.items, it)
	i.queued++
	if len(l.items) == 1 {
		go i.run(it)
	}
}

// run calls the handler of an item and queues the result for a round.
func (i *instance) run(it *item) {
	i.handlers <- struct{}{}
	defer func() { <-i.handlers }()
	p := it.partition
	i.mu.Lock()
	if p.revoking || p.lost {
		i.mu.Unlock()
		return
	}
	p.running++
	pause := i.pause()
	i.mu.Unlock()

	time.Sleep(pause)
	done := &invocation{item: it, records: i.recordsOf(it)}

	i.mu.Lock()
	defer i.mu.Unlock()
	p.running--
	if p.lost {
		say(note{What: noteDropped, N: 1})
		return
	}
	i.finished = append(i.finished, done)
	i.wake()
}

// pause returns how long a handler takes. Some take longer than a revocation waits. mu must be held.
func (i *instance) pause() time.Duration {
	if !i.Busy {
		return 0
	}
	switch n := i.random.IntN(2000); {
	case n < 1:
		return revokeTimeout + 2*time.Second
	case n < 20:
		return time.Duration(100+i.random.IntN(300)) * time.Millisecond
	case n < 200:
		return time.Duration(5+i.random.IntN(25)) * time.Millisecond
	}
	return time.Duration(i.random.IntN(3000)) * time.Microsecond
}

// recordsOf returns the records that the handler of an item emits. For some events, the first attempt has a record
// that the log refuses.
func (i *instance) recordsOf(it *item) []*kgo.Record {
	var records []*kgo.Record
	for n, e := range it.event.emissions() {
		size := 100
		if n == 0 && it.event.Refused && it.attempt == 0 {
			size = 2 * derivedMaxBytes
		}
		e.Padding = strings.Repeat("0", size)
		b, _ := json.Marshal(e) // cannot fail
		records = append(records, &kgo.Record{Topic: i.names.derived, Partition: partitionOf(e.Subject, derivedPartitions),
			Key: []byte(e.Subject), Value: b})
	}
	return records
}

// advance removes an item that is done from its lane, and starts the handler of the next one. mu must be held.
func (i *instance) advance(it *item) {
	p := it.partition
	l := p.lanes[it.event.Subject]
	l.items = l.items[1:]
	i.queued--
	if len(l.items) == 0 {
		delete(p.lanes, it.event.Subject)
		return
	}
	if !p.revoking {
		go i.run(l.items[0])
	}
}

// wake makes roundsUntil do another round.
func (i *instance) wake() {
	select {
	case i.dirty <- struct{}{}:
	default:
	}
}

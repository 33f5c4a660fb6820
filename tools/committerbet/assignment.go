//go:build linux

package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// For partitions that are assigned, kgo calls onAssigned, onOffsetsFetched and onOffsets in this order, one at a
// time.

// onAssigned records the member id and the generation of this instance. These may only be read in kgo's callbacks: at
// other times kgo may have joined a generation whose assignment it does not know yet.
func (i *instance) onAssigned(ctx context.Context, _ *kgo.Client, added map[string][]int32) {
	<-i.joined
	member, generation := i.client.GroupMetadata()
	i.mu.Lock()
	i.member, i.generation = member, generation
	partitions := added[i.names.source]
	for _, p := range partitions {
		i.assignedAt[p] = time.Now()
	}
	i.mu.Unlock()
	say(note{What: noteAssigned, N: len(partitions)})
	i.wake() // to retry rounds that were refused in the last generation
	if i.Takeover && i.Mode == modeTransactions && len(partitions) > 0 {
		i.takeOver(ctx, partitions)
	}
}

// onOffsetsFetched keeps the committed positions and their metadata for onOffsets.
func (i *instance) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	fetched := make(map[int32]kmsg.OffsetFetchResponseGroupTopicPartition)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				fetched[p.Partition] = p
			}
		}
	}
	for _, t := range resp.Topics { // older versions of the response have one group
		for _, p := range t.Partitions {
			row := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			row.Partition, row.Offset, row.Metadata = p.Partition, p.Offset, p.Metadata
			fetched[p.Partition] = row
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched = fetched
	return nil
}

// onOffsets starts the incarnations of newly assigned partitions: it reads from the marks which events at or past
// their positions are done. It returns the positions to fetch from.
func (i *instance) onOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	i.mu.Lock()
	fetched := i.fetched
	i.mu.Unlock()
	found := make(map[int32]*tracker)
	for number := range offsets[i.names.source] {
		t := newTracker()
		f := fetched[number]
		if m, ok := parseMetadata(f.Metadata); ok && f.Offset >= 0 {
			t.position, t.round, t.floor = f.Offset, m.Round, m.MarksFrom
		}
		found[number] = t
	}
	if err := i.readMarks(ctx, found); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for number, t := range found {
		say(note{What: noteResumed, N: 1, Took: time.Since(i.assignedAt[number])})
		i.last++
		i.owned[number] = &partition{number: number, incarnation: i.last, tracker: t, next: t.position, lanes: make(map[string]*lane)}
		offsets[i.names.source][number] = kgo.NewOffset().At(t.position)
	}
	return offsets, nil
}

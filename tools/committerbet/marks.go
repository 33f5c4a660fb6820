//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readMarks adds to the trackers what the marks record as done. It reads the marks from the offset in the committed
// metadata up to the high watermarks, which it requests after the positions were fetched. As it reads with
// read_committed, it waits until transactions of other instances in these partitions have ended.
func (i *instance) readMarks(ctx context.Context, trackers map[int32]*tracker) error {
	from := make(map[int32]int64) // by partition of the marks topic
	for source, t := range trackers {
		m := marksOf(source)
		if old, ok := from[m]; !ok || t.floor < old {
			from[m] = t.floor
		}
	}
	ends, err := kadm.NewClient(i.client).ListEndOffsets(ctx, i.names.marks)
	if err != nil {
		return err
	}
	left := make(map[int32]int64)
	for m, start := range from {
		end, ok := ends.Lookup(i.names.marks, m)
		if !ok || end.Err != nil {
			return fmt.Errorf("the end of the marks is not known: %v", end.Err)
		}
		if start < end.Offset {
			left[m] = end.Offset
		}
	}
	for source, t := range trackers {
		if end, _ := ends.Lookup(i.names.marks, marksOf(source)); true {
			t.floor = max(t.floor, end.Offset)
		}
	}
	if len(left) == 0 {
		return nil
	}
	begin := make(map[int32]kgo.Offset)
	for m := range left {
		begin[m] = kgo.NewOffset().At(from[m])
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(i.Address), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{i.names.marks: begin}))
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				addMark(trackers, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// addMark adds a mark to the tracker of its source partition.
func addMark(trackers map[int32]*tracker, r *kgo.Record) {
	var m mark
	if err := json.Unmarshal(r.Value, &m); err != nil {
		say(note{What: noteBroken, Why: "a mark: " + err.Error()})
		return
	}
	t := trackers[m.Source]
	if t == nil {
		return
	}
	slices.Sort(m.Done)
	for _, offset := range m.Done {
		t.add(offset, r.Offset)
	}
}

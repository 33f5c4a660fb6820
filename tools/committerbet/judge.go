//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// findings are what the topics and the group's log show after a trial.
type findings struct {
	events, expected, derived int
	duplicates                int // number of emissions that repeat an id
	// torn is the number of emissions of one call of a handler that are out of order, because the log refused the first
	// of them.
	torn         int
	handledTwice int // number of source offsets that are in more than one mark
	aborted      int // records of the derived topic that only read_uncommitted returns
	commits      int // number of positions in the group's log
	// wrong has descriptions of what is wrong, at most 20.
	wrong     []string
	moreWrong int // number of further descriptions that were dropped
}

// isWrong adds a description to wrong.
func (f *findings) isWrong(format string, args ...any) {
	if len(f.wrong) == 20 {
		f.moreWrong++
		return
	}
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

func (f *findings) String() string {
	text := fmt.Sprintf("%d events, %d ids expected, %d records under read_committed: %d duplicates; %d torn; %d events handled twice; %d aborted records; %d positions committed",
		f.events, f.expected, f.derived, f.duplicates, f.torn, f.handledTwice, f.aborted, f.commits)
	if len(f.wrong) == 0 {
		return text + "\n    nothing is wrong"
	}
	return text + fmt.Sprintf("\n    WRONG (%d): ", len(f.wrong)+f.moreWrong) + strings.Join(f.wrong, "\n      ")
}

// judge reads all topics of a trial and returns the findings. If once is true, duplicates are wrong.
func judge(ctx context.Context, address string, n names, once bool) (*findings, error) {
	f := &findings{}
	source, err := readAll(ctx, address, n.source, kgo.ReadCommitted())
	if err != nil {
		return nil, err
	}
	events := make([]event, len(source))
	for at, r := range source {
		if err := json.Unmarshal(r.Value, &events[at]); err != nil {
			return nil, err
		}
	}
	f.events = len(events)
	derived, err := readAll(ctx, address, n.derived, kgo.ReadCommitted())
	if err != nil {
		return nil, err
	}
	f.judgeEmissions(events, derived, once)
	all, err := readAll(ctx, address, n.derived, kgo.ReadUncommitted())
	if err != nil {
		return nil, err
	}
	f.aborted = len(all) - len(derived)
	marks, err := readAll(ctx, address, n.marks, kgo.ReadCommitted())
	if err != nil {
		return nil, err
	}
	f.judgeMarks(source, marks, once)
	if err := f.judgePositions(ctx, address, n, source); err != nil {
		return nil, err
	}
	return f, f.judgeOwners(ctx, address, n)
}

// judgeEmissions compares the ids of derived records with those that follow from the events. It also checks the
// order: emissions of one subject, type and cause subject must be in the order of their causes.
func (f *findings) judgeEmissions(events []event, derived []*kgo.Record, once bool) {
	expected := make(map[string]bool)
	for _, e := range events {
		for _, x := range e.emissions() {
			if expected[x.ID] {
				f.isWrong("id %s is derived twice", x.ID)
			}
			expected[x.ID] = true
		}
	}
	f.expected, f.derived = len(expected), len(derived)
	seen := make(map[string]int)
	type line struct{ cause, kind, subject string }
	type place struct{ seq, n int }
	last := make(map[line]place)
	for _, r := range derived {
		var x emission
		if err := json.Unmarshal(r.Value, &x); err != nil {
			f.isWrong("a derived record: %v", err)
			continue
		}
		if !expected[x.ID] {
			f.isWrong("%s at %d/%d follows from no event", x.ID, r.Partition, r.Offset)
		}
		seen[x.ID]++
		if seen[x.ID] > 1 {
			f.duplicates++
			if once {
				f.isWrong("%s of event %s is there %d times", x.ID, x.Cause.ID, seen[x.ID])
			}
			continue
		}
		l, p := line{x.Cause.Subject, x.Type, x.Subject}, place{x.Cause.Seq, x.N}
		before, ok := last[l]
		if ok && !once && x.Cause.Refused && p.seq == before.seq && p.n < before.n {
			f.torn++
			continue
		}
		if ok && (p.seq < before.seq || p.seq == before.seq && p.n < before.n) {
			f.isWrong("inversion in %v: %v after %v", l, p, before)
		}
		last[l] = p
	}
	for id := range expected {
		if seen[id] == 0 {
			f.isWrong("%s is missing", id)
		}
	}
}

// judgeMarks checks that each event is in a mark, and with once in only one.
func (f *findings) judgeMarks(source, marks []*kgo.Record, once bool) {
	handled := make(map[[2]int64]int)
	for _, r := range marks {
		var m mark
		if err := json.Unmarshal(r.Value, &m); err != nil {
			f.isWrong("a mark: %v", err)
			continue
		}
		for _, offset := range m.Done {
			place := [2]int64{int64(m.Source), offset}
			handled[place]++
			if handled[place] == 2 {
				f.handledTwice++
				if once {
					f.isWrong("source %v is marked twice, the second time in round %d of %s", place, m.Round, m.Author)
				}
			}
		}
	}
	for _, r := range source {
		if handled[[2]int64{int64(r.Partition), r.Offset}] == 0 {
			f.isWrong("source %d/%d is unhandled", r.Partition, r.Offset)
		}
	}
}

// judgePositions checks that the group's positions are at the ends of the source partitions.
func (f *findings) judgePositions(ctx context.Context, address string, n names, source []*kgo.Record) error {
	positions, err := positionsOf(ctx, address, n)
	if err != nil {
		return err
	}
	for partition, end := range endsOf(source) {
		if at := positions[partition]; at != end {
			f.isWrong("the position of %d is %d, and its end %d", partition, at, end)
		}
	}
	return nil
}

// positionsOf returns the committed positions of the group in the source topic.
func positionsOf(ctx context.Context, address string, n names) (map[int32]int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found, err := kadm.NewClient(client).FetchOffsets(ctx, n.group)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]int64)
	for partition, o := range found[n.source] {
		positions[partition] = o.At
	}
	return positions, nil
}

// endsOf returns the offset after the last record of each partition.
func endsOf(records []*kgo.Record) map[int32]int64 {
	ends := make(map[int32]int64)
	for _, r := range records {
		ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
	}
	return ends
}

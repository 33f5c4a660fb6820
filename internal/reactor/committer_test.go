package reactor

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// fakeLog is the log and the coordinator of an atLeastOnce committer. It records what the committer does, in order, and
// fails as its fields say.
type fakeLog struct {
	done    []string // keys of the records produced, and "commit" for each commit
	end     int64    // end offset of the topic to which records are appended
	during  func()   // if not nil, called when records have been produced
	marks   error
	commits []*kmsg.OffsetCommitRequest
	codes   map[int32]int16 // error codes of commits by partition; -1 leaves the partition out of the response
}

func (l *fakeLog) ProduceSync(_ context.Context, records ...*kgo.Record) error {
	for _, r := range records {
		l.done = append(l.done, string(r.Key))
		l.end++
		r.Offset = l.end - 1
	}
	if l.during != nil {
		l.during()
	}
	return l.marks
}

func (l *fakeLog) Topic(_ context.Context, name string) (logclient.Topic, error) {
	return logclient.Topic{Name: name, ID: [16]byte{1}}, nil
}

func (l *fakeLog) Request(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	l.done = append(l.done, "commit")
	r := req.(*kmsg.OffsetCommitRequest)
	l.commits = append(l.commits, r)
	resp := kmsg.NewPtrOffsetCommitResponse()
	for _, t := range r.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.TopicID = t.TopicID // responses name topics by id from version 10 on
		for _, p := range t.Partitions {
			if code := l.codes[p.Partition]; code >= 0 {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code
				rt.Partitions = append(rt.Partitions, rp)
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// roundOf returns a round with these parts, whose partitions are all still owned.
func roundOf(parts ...finished) round {
	return round{membership: membership{"m-1", 7}, parts: parts, owned: func(incarnation) bool { return true }}
}

// part returns the part of a round for one partition of topic orders: the position to commit, and the offsets to mark
// as done.
func part(partition int32, i incarnation, position int64, done ...offsets.Range) finished {
	return finished{topicPartition: topicPartition{"orders", partition}, incarnation: i, position: position, draft: metadataDraft{epoch: 1}, done: done}
}

func TestMarksAreDurableBeforePositionsAreCommitted(t *testing.T) {
	log := &fakeLog{}
	c := &atLeastOnce{reaction: "email", log: log, coordinator: log}
	result, err := c.commit(t.Context(), roundOf(part(0, 1, 5, offsets.Range{Lo: 3, Hi: 5}), part(1, 2, 9)))
	if err != nil || len(result.failed) != 0 {
		t.Fatalf("%v, %v", result, err)
	}
	// Case: partition 1 has nothing new done, so only its position is committed.
	marks := obligation.Marks{Reaction: "email", Topic: "orders", Partition: 0}
	if want := []string{marks.Key(), "commit"}; !slices.Equal(log.done, want) {
		t.Errorf("%v, want %v", log.done, want)
	}
	got := log.commits[0]
	if got.Group != "email" || got.MemberID != "m-1" || got.Generation != 7 || got.InstanceID != nil ||
		len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 2 || got.Topics[0].Partitions[1].Offset != 9 {
		t.Errorf("%+v", got)
	}
}

func TestWithoutMarksNothingIsCommitted(t *testing.T) {
	log := &fakeLog{marks: errors.New("no")}
	c := &atLeastOnce{reaction: "email", log: log, coordinator: log}
	if _, err := c.commit(t.Context(), roundOf(part(0, 1, 5, offsets.Range{Lo: 3, Hi: 5}))); err == nil || len(log.commits) > 0 {
		t.Errorf("%v; %d commits", err, len(log.commits))
	}
}

// TestAPartitionLostDuringARoundIsNotCommitted loses a partition while the marks of a round are being written. Its
// position must not be committed: the group would not refuse the commit, because a member may commit any partition of
// its group.
func TestAPartitionLostDuringARoundIsNotCommitted(t *testing.T) {
	lost := incarnation(0)
	log := &fakeLog{during: func() { lost = 2 }}
	c := &atLeastOnce{reaction: "email", log: log, coordinator: log}
	r := roundOf(part(0, 1, 5, offsets.Range{Lo: 3, Hi: 5}), part(1, 2, 9, offsets.Range{Lo: 8, Hi: 9}))
	r.owned = func(i incarnation) bool { return i != lost }
	result, err := c.commit(t.Context(), r)
	if err != nil || len(result.failed) != 0 || len(log.commits) != 1 {
		t.Fatalf("%v, %v, %d commits", result, err, len(log.commits))
	}
	if p := log.commits[0].Topics[0].Partitions; len(p) != 1 || p[0].Partition != 0 {
		t.Errorf("committed %+v, want partition 0 alone", p)
	}
	// Case: all partitions of the round are lost. No commit is sent.
	r.owned = func(incarnation) bool { return false }
	if _, err := c.commit(t.Context(), r); err != nil || len(log.commits) != 1 {
		t.Errorf("%v, %d commits", err, len(log.commits))
	}
}

func TestEachPositionThatIsRefusedIsReturned(t *testing.T) {
	log := &fakeLog{codes: map[int32]int16{1: kerr.IllegalGeneration.Code, 2: -1}}
	c := &atLeastOnce{reaction: "email", instance: "host.1", log: log, coordinator: log}
	result, err := c.commit(t.Context(), roundOf(part(0, 1, 5), part(1, 2, 9), part(2, 3, 4)))
	if err != nil || len(result.failed) != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	if result.failed[0].incarnation != 2 || !betweenGenerations(result.failed[0].err) || result.failed[1].incarnation != 3 || !errors.Is(result.failed[1].err, errNoAnswer) {
		t.Errorf("%+v", result)
	}
	if id := log.commits[0].InstanceID; id == nil || *id != "host.1" {
		t.Errorf("instance %v", id)
	}
}

// TestProgressFollowsItsMarks checks that progress is written after the marks of the events that it contains, and that
// the metadata committed with the position says from which offset on marks are still needed beside the progress.
func TestProgressFollowsItsMarks(t *testing.T) {
	log := &fakeLog{end: 100}
	c := &atLeastOnce{reaction: "email", log: log, coordinator: log}
	partial := metadataDraft{partial: true}
	first := part(0, 1, 5, offsets.Range{Lo: 7, Hi: 8})
	first.draft, first.whole, first.chunks = partial, true, []chunk{{number: 0, done: offsets.SetOf(offsets.Range{Lo: 7, Hi: 8})}}
	result, err := c.commit(t.Context(), roundOf(first))
	if err != nil || result.marksEnd != 101 {
		t.Fatalf("%+v, %v", result, err)
	}
	if want := []string{"email/orders/0", "email/orders/0/0", "commit"}; !slices.Equal(log.done, want) {
		t.Errorf("%v, want %v", log.done, want)
	}
	// Case: the next round writes no progress, so the marks from the same offset on are still needed.
	next := part(0, 1, 5, offsets.Range{Lo: 9, Hi: 10})
	next.draft, next.marksFrom = partial, result.marksEnd
	if _, err := c.commit(t.Context(), roundOf(next)); err != nil {
		t.Fatal(err)
	}
	// Case: the metadata has everything, this round's marks included.
	last := part(0, 1, 5, offsets.Range{Lo: 11, Hi: 12})
	last.whole = true
	ends := []int64{101, 101, 104, 500}
	if _, err := c.commit(t.Context(), roundOf(last)); err != nil {
		t.Fatal(err)
	}
	// Case: more marks are known than those that this instance has written.
	known := part(0, 1, 5)
	known.whole = true
	renewed := roundOf(known)
	renewed.marksEnd = 500
	if _, err := c.commit(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	for i, commit := range log.commits {
		m, err := decodeMetadata(5, *commit.Topics[0].Partitions[0].Metadata)
		if err != nil || m.marksFrom != ends[i] {
			t.Errorf("commit %d: %+v, %v", i, m, err)
		}
	}
}

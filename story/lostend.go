package story

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// A log may lose its end while handlers run for events of that end. Marks that they write afterwards are about offsets at which there
// are other events then. The leader epoch in the marks tells: they do not count at and above the end of that epoch
// (obligation.Marks.Below). The present epoch of a partition has no end that would matter.

// leaderEpoch names a leader epoch of a partition of the topic that has the name now.
type leaderEpoch struct {
	topic     string
	partition int32
	epoch     int32
}

// lostEnds has the offsets at which leader epochs end.
type lostEnds map[leaderEpoch]int64

// believable returns what of marks is about records that are in the log. present is the id of the topic that has the name in them now.
func (l lostEnds) believable(m *obligation.Marks, present obligation.TopicID) *obligation.Marks {
	if len(l) == 0 || m.Leader == nil || !m.TopicID.Is(present) {
		return m
	}
	if end, ok := l[leaderEpoch{m.Topic, m.Partition, *m.Leader}]; ok {
		return m.Below(end)
	}
	return m
}

// lostEnds returns where the leader epochs end that marks in records name, but for present ones. It asks the brokers about those that it
// does not know yet, for at most requestTimeout each. Where they do not tell, the epoch does not end.
func (f *follower) lostEnds(ctx context.Context, records []*kgo.Record) (lostEnds, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		if r.Topic != obligation.ReactionsTopic {
			continue
		}
		named, ok := leaderOfMarks(r)
		if !ok {
			continue
		}
		present, known := f.leaders[named.topic][named.partition]
		if !known || named.epoch == present {
			continue
		}
		if _, ok := f.ended[named]; ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		ends, err := f.lc.EpochEnds(ctx, logclient.Epochs{named.topic: {named.partition: named.epoch}})
		cancel()
		if e, refused := errors.AsType[*kerr.Error](err); refused && !e.Retriable {
			continue // the brokers know no epochs, or this client may not ask
		}
		if err != nil {
			return nil, err
		}
		end, answered := ends[named.topic][named.partition]
		if !answered || named.epoch > present && end.Of(named.epoch) >= 0 {
			continue // it has begun since the last discovery
		}
		if f.ended == nil {
			f.ended = make(lostEnds)
		}
		f.ended[named] = max(0, end.Of(named.epoch)) // nothing counts if the log knows nothing of the epoch
	}
	return f.ended, nil
}

// leaderOfMarks returns the leader epoch that the marks in a record name; ok is false if the record has no marks, or they name none.
// It does not decode the record, since nearly all name the present epoch.
func leaderOfMarks(r *kgo.Record) (named leaderEpoch, ok bool) {
	const field = `"leader_epoch":`
	at := bytes.Index(r.Value, []byte(field))
	if at < 0 {
		return named, false
	}
	digits := r.Value[at+len(field):]
	if end := bytes.IndexAny(digits, ",}"); end >= 0 {
		digits = digits[:end]
	}
	epoch, err := strconv.ParseInt(string(digits), 10, 32)
	key := bytes.Split(r.Key, []byte{'/'}) // reaction/topic/partition
	if err != nil || len(key) != 3 {
		return named, false
	}
	partition, err := strconv.ParseInt(string(key[2]), 10, 32)
	return leaderEpoch{string(key[1]), int32(partition), int32(epoch)}, err == nil
}

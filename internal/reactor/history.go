package reactor

import (
	"context"
	"maps"
	"strings"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// history is the account of one partition, by the marks and seeks of a reaction.
type history struct {
	*obligation.Account
	// epoch is the number of a seek that was obeyed before, and whose record need not be added; 0 if there is none. Marks of
	// earlier epochs are ignored: an instance that did not know of the seek may have written them after it.
	epoch    int64
	position int64 // of the last marks or seek
	// own has the same from only those records that have the topic's present id. Records of earlier versions have no
	// id. It is nil in own itself.
	own *history
}

// newHistory returns a history without records.
func newHistory(epoch int64) *history {
	return &history{Account: obligation.NewAccount(), epoch: epoch}
}

// empty reports whether no record was added.
func (h *history) empty() bool { return h.Seek == nil && h.position == 0 && h.Done.Empty() }

// end returns the offset after the highest offset that is done, and at least position.
func (h *history) end() int64 { return max(h.position, h.End()) }

// addOf adds the record f, unless it is about another topic of the same name. recorded is the topic id in the record,
// and now is the present id of the topic; either may be unknown.
func (h *history) addOf(recorded, now obligation.TopicID, f obligation.Fact) {
	if !recorded.Is(now) {
		return
	}
	h.add(f)
	if recorded == now && now != (obligation.TopicID{}) {
		h.own.add(f)
	}
}

// add adds the record f. Records must be added in the order of the log. Marks from before the last seek are ignored.
func (h *history) add(f obligation.Fact) {
	switch f := f.(type) {
	case *obligation.Marks:
		if f.Epoch < max(h.epoch, h.Epoch()) {
			return
		}
		h.position = max(h.position, f.Position)
	case *obligation.Seek:
		if !f.Follows(h.Epoch()) {
			return
		}
		h.position = f.To
	}
	h.Add(f)
}

// readHistory returns the history of each partition in of, from the records of tidings.reactions from an offset on. found
// has the epochs that were committed for them, 0 where none is known. ids has the present topic ids by name.
func (s *resumePoints) readHistory(ctx context.Context, from int64, of []topicPartition, found map[topicPartition]resumePoint, ids map[string]topicID) (map[topicPartition]*history, error) {
	past := make(map[topicPartition]*history)
	for _, tp := range of {
		past[tp] = newHistory(found[tp].epoch)
		past[tp].own = newHistory(found[tp].epoch)
	}
	starts, err := s.client.Starts(ctx, obligation.ReactionsTopic)
	if err != nil {
		return nil, err
	}
	ends, err := s.client.Ends(ctx, obligation.ReactionsTopic)
	if err != nil {
		return nil, err
	}
	begin := logclient.Offsets{obligation.ReactionsTopic: {0: max(from, starts[obligation.ReactionsTopic][0])}}
	var facts []obligation.Fact // marks and seeks of the partitions
	var leaders logclient.LeaderEnds
	for r, err := range s.client.Read(ctx, begin, ends) {
		if err != nil {
			return nil, err
		}
		f, err := obligation.Decode(r.Value)
		if err != nil {
			continue // a record of a later version, or a foreign one
		}
		switch f := f.(type) {
		case *obligation.Marks:
			tp := topicPartition{f.Topic, f.Partition}
			if past[tp] == nil || f.Reaction != s.reaction {
				continue
			}
			facts = append(facts, f)
			if f.Leader != nil {
				leaders.Want(f.Topic, f.Partition, *f.Leader)
			}
		case *obligation.Seek:
			if past[topicPartition{f.Topic, f.Partition}] != nil && f.Reaction == s.reaction {
				facts = append(facts, f)
			}
		}
	}
	if err := leaders.Ask(ctx, s.client); err != nil {
		return nil, err
	}
	for _, f := range facts {
		switch f := f.(type) {
		case *obligation.Marks:
			tp := topicPartition{f.Topic, f.Partition}
			past[tp].addOf(f.TopicID, obligation.TopicID(ids[f.Topic]), believable(f, &leaders))
		case *obligation.Seek:
			past[topicPartition{f.Topic, f.Partition}].addOf(f.TopicID, obligation.TopicID(ids[f.Topic]), f)
		}
	}
	return past, nil
}

// readProgress adds to the points in found what tidings.progress has of them: the failing events, and, for the
// partitions in marked, whose metadata says where marks follow it, what is done ahead. Of what is at or above an offset in ends, it adds
// only what marks say is done: that is where the leader epoch ends in which the position was committed, and marks name their own.
func (s *resumePoints) readProgress(ctx context.Context, found map[topicPartition]resumePoint, marked []topicPartition, ids map[string]topicID, ends map[topicPartition]int64) error {
	failing := make(map[topicPartition][]byte) // values of the newest records
	chunks := make(map[topicPartition]map[int64][]byte)
	for _, tp := range marked {
		chunks[tp] = make(map[int64][]byte)
	}
	for r, err := range s.client.ReadAll(ctx, obligation.ProgressTopic, 0) {
		if err != nil {
			return err
		}
		key := string(r.Key)
		if !strings.HasPrefix(key, s.reaction+"/") {
			continue
		}
		for tp := range found {
			if key == obligation.FailingKey(s.reaction, tp.topic, tp.partition) {
				failing[tp] = r.Value
			} else if number, ok := chunkNumber(key, obligation.ProgressPrefix(s.reaction, tp.topic, tp.partition)); ok && chunks[tp] != nil {
				chunks[tp][number] = r.Value
			}
		}
	}
	if err := s.completeAhead(ctx, found, marked, chunks, ids, ends); err != nil {
		return err
	}
	for tp, value := range failing {
		at := found[tp]
		if !at.committed || len(value) == 0 {
			continue
		}
		var err error
		if at.failing, err = decodeFailing(value, at.topic, at.epoch, at.position, &at.ahead); err != nil {
			s.log.Warn("how often events have failed is unknown: counting begins anew", "topic", tp.topic, "partition", tp.partition, "error", err)
		}
		if end, ok := ends[tp]; ok {
			maps.DeleteFunc(at.failing, func(offset int64, _ failure) bool { return offset >= end })
		}
		found[tp] = at
	}
	return nil
}

// completeAhead adds to the points of the partitions in marked what their chunks and the marks after those chunks say
// is done ahead.
func (s *resumePoints) completeAhead(ctx context.Context, found map[topicPartition]resumePoint, marked []topicPartition, chunks map[topicPartition]map[int64][]byte, ids map[string]topicID, ends map[topicPartition]int64) error {
	if len(marked) == 0 {
		return nil
	}
	add := func(tp topicPartition, done *offsets.Set) {
		at := found[tp]
		above := done.CutFrom(at.position)
		for _, r := range above.Ranges() {
			at.ahead.Add(r.Lo, r.Hi)
		}
		found[tp] = at
	}
	first := found[marked[0]].marksFrom
	for _, tp := range marked {
		at := found[tp]
		first = min(first, at.marksFrom)
		for number, value := range chunks[tp] {
			if len(value) == 0 {
				continue
			}
			topic, epoch, done, err := decodeChunk(number, value)
			if err != nil {
				s.log.Warn("what is done ahead is known in part only; the rest is handled again",
					"topic", tp.topic, "partition", tp.partition, "chunk", number, "error", err)
			} else if topic == at.topic && epoch == at.epoch {
				if end, ok := ends[tp]; ok {
					done.CutFrom(end)
				}
				add(tp, &done)
			}
		}
	}
	past, err := s.readHistory(ctx, first, marked, found, ids)
	if err != nil {
		return err
	}
	for tp, h := range past {
		// A seek of a later epoch than the committed one has not been obeyed yet: the next assignment does that. One of the
		// committed epoch, or before, is read if the marks of another partition are read from an earlier offset on.
		if h.Seek == nil || h.Epoch() <= found[tp].epoch {
			add(tp, &h.Done)
		}
	}
	return nil
}

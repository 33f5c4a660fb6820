package reactor

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// resumePoints finds out where assigned partitions are to be taken up. It is not safe for concurrent use.
type resumePoints struct {
	reaction string
	client   *logclient.Client
	log      *slog.Logger
	subs     subscriptions
	// fetched has what the group has committed for the partitions that were assigned last.
	fetched map[topicPartition]committedOffset
	// marksEnd is the end of tidings.reactions when the last find began: it has read, or needs not, the marks below it.
	marksEnd int64
}

// resumePoint says where one partition is to be taken up.
type resumePoint struct {
	position int64
	epoch    int64 // number of the last seek
	topic    topicID
	ahead    offsets.Set       // offsets above position that are done
	failing  map[int64]failure // events whose attempts have all failed so far
	// marksFrom is an offset of tidings.reactions: what was committed, and the progress, have all that is done ahead but for
	// the marks from there on.
	marksFrom int64
	committed bool // the group has committed exactly this point
	untouched bool // no instance has handled an event of the partition
}

// committedOffset is what a group has committed for a partition.
type committedOffset struct {
	offset   int64 // -1 if nothing is committed
	leader   int32 // leader epoch of the newest record that the committer had read; -1 if it knew none
	metadata string
}

// asCommit returns a part of a round that commits the point and has no marks.
func (s *resumePoint) asCommit(tp topicPartition) finished {
	p := partition{
		topicPartition: tp, epoch: s.epoch, leader: -1, topicID: s.topic, marksFrom: s.marksFrom,
		tracker: newTracker(s.position, s.ahead.Clone()),
	}
	return p.finished(true)
}

// keep keeps the committed offsets in resp for the next find.
func (s *resumePoints) keep(resp *kmsg.OffsetFetchResponse) {
	s.fetched = make(map[topicPartition]committedOffset)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				o := committedOffset{offset: p.Offset, leader: p.LeaderEpoch}
				if p.Metadata != nil {
					o.metadata = *p.Metadata
				}
				s.fetched[topicPartition{t.Topic, p.Partition}] = o
			}
		}
	}
}

// find returns where each of the partitions is to be taken up; ids are those of their topics (see topicIDs):
//
//   - at the committed position, with the offsets done ahead of it, if a reactor has committed the position;
//   - at the committed position, in a new epoch, if it was moved by hand;
//   - after everything that is marked, if the group has no position any more, because positions have expired or were
//     deleted, or one of an epoch that the log has lost;
//   - where the leader epoch ends in which the position was committed, if the log has lost records below the position;
//   - where the subscription says, if nothing was ever marked: the reaction is new, or crashed when it was;
//   - at 0, if the subscription does not have the partition, which was added later, or if the committed position
//     belongs to a deleted topic of the same name. A missing position never means the end.
func (s *resumePoints) find(ctx context.Context, partitions map[string]map[int32]kgo.Offset, ids map[string]topicID) (map[topicPartition]resumePoint, error) {
	ends, err := s.client.Ends(ctx, obligation.ReactionsTopic)
	if err != nil {
		return nil, err
	}
	s.marksEnd = ends[obligation.ReactionsTopic][0]
	found := make(map[topicPartition]resumePoint)
	var moved, expired, remade, marked []topicPartition
	for topic, numbers := range partitions {
		for number := range numbers {
			tp := topicPartition{topic, number}
			have, ok := s.fetched[tp]
			if !ok || have.offset < 0 {
				starts := s.subs.byTopic[topic].Start
				found[tp] = resumePoint{position: starts[number], topic: ids[topic], untouched: true}
				switch {
				case s.subs.fresh[topic]:
				case len(starts) > 0:
					expired = append(expired, tp)
				default: // anotherTopic has removed the starts
					remade = append(remade, tp)
				}
				continue
			}
			at := resumePoint{position: have.offset, topic: ids[topic], committed: true}
			m, err := decodeMetadata(have.offset, have.metadata)
			switch {
			case err == nil && m.topic != ids[topic] && m.topic != topicID{} && ids[topic] != topicID{}:
				s.log.Warn("the topic was made anew since the position was committed: the reaction begins with its first event",
					"topic", topic, "partition", number, "committed", have.offset)
				at.position, at.committed, at.untouched = 0, false, true
				remade = append(remade, tp)
			case err == nil:
				at.epoch, at.ahead, at.marksFrom = m.epoch, m.ahead, m.marksFrom
				if m.marksFrom >= 0 {
					marked = append(marked, tp)
				}
			default:
				if ownMetadata(have.metadata) {
					s.log.Warn("what was committed beside a position is damaged; what is done ahead of it is taken from the marks",
						"topic", topic, "partition", number, "error", err)
				}
				at.committed = false // the position must be committed again, with its epoch
				moved = append(moved, tp)
			}
			found[tp] = at
		}
	}
	epochEnds, lost, err := s.goBack(ctx, found)
	if err != nil {
		return nil, err
	}
	expired = append(expired, lost...)
	marked = slices.DeleteFunc(marked, func(tp topicPartition) bool { return !found[tp].committed }) // what was done ahead is lost, too
	s.cutLost(found, epochEnds)
	if err := s.readProgress(ctx, found, marked, ids, epochEnds); err != nil {
		return nil, err
	}
	if len(moved)+len(expired)+len(remade) == 0 {
		return found, nil
	}
	past, err := s.readHistory(ctx, 0, slices.Concat(moved, expired, remade), found, ids)
	if err != nil {
		return nil, err
	}
	for _, tp := range expired {
		found[tp] = s.afterExpiry(tp, found[tp], past[tp])
	}
	if err := s.beginRemade(ctx, found, remade, past); err != nil {
		return nil, err
	}
	return found, s.obeySeeks(ctx, found, moved, past)
}

// goBack sets back the points that are above what the log has of the leader epochs in which they were committed: the log has lost
// its end since then. It returns the ends of those epochs, and the partitions of which the log does not know the epoch.
func (s *resumePoints) goBack(ctx context.Context, found map[topicPartition]resumePoint) (ends map[topicPartition]int64, lost []topicPartition, err error) {
	var leaders logclient.LeaderEnds
	for tp, at := range found {
		if leader := s.leaderOf(tp, at); leader >= 0 {
			leaders.Want(tp.topic, tp.partition, leader)
		}
	}
	if err := leaders.Ask(ctx, s.client); err != nil {
		return nil, nil, err
	}
	ends = make(map[topicPartition]int64)
	for tp, at := range found {
		leader := s.leaderOf(tp, at)
		if leader < 0 {
			continue
		}
		end := leaders.Of(tp.topic, tp.partition, leader)
		ends[tp] = end
		switch {
		case end == logclient.LostEpoch:
			s.log.Warn("the log has gone back: it does not know the leader epoch in which the position was committed; the reaction goes on after what it has marked",
				"topic", tp.topic, "partition", tp.partition, "committed", at.position)
			found[tp] = resumePoint{position: s.subs.byTopic[tp.topic].Start[tp.partition], topic: at.topic, untouched: true}
			lost = append(lost, tp)
		case end < at.position:
			s.log.Warn("the log has gone back: it has lost events that were handled; the reaction goes on with those that came in their place",
				"topic", tp.topic, "partition", tp.partition, "committed", at.position, "goes_on_at", end)
			at.position, at.committed = end, false
			at.ahead = offsets.Set{}
			found[tp] = at
		}
	}
	return ends, lost, nil
}

// cutLost removes from the points what was committed as done ahead of the position and is above the end of the leader epoch in which it
// was read: the log has lost it, and may have other events there.
func (s *resumePoints) cutLost(found map[topicPartition]resumePoint, ends map[topicPartition]int64) {
	for tp, end := range ends {
		at := found[tp]
		if !at.committed {
			continue // goBack has set it back
		}
		if lost := at.ahead.CutFrom(end); !lost.Empty() {
			s.log.Warn("the log has gone back: it has lost events that were handled ahead of the position; those that came in their place are handled",
				"topic", tp.topic, "partition", tp.partition, "position", at.position, "lost_from", end)
			at.committed = false
		}
		found[tp] = at
	}
}

// leaderOf returns the leader epoch of the newest record that was read when the position of a point was committed; -1 if that is not
// known, or if the point is another one.
func (s *resumePoints) leaderOf(tp topicPartition, at resumePoint) int32 {
	if have, ok := s.fetched[tp]; ok && at.committed {
		return have.leader
	}
	return -1
}

// beginRemade sets the points of partitions of topics that were deleted and made again. If the reaction has handled
// events of the new topic, it goes on after them. Marks from earlier versions do not say which topic they are of: if
// there are some, the partition begins in a new epoch, recorded by a seek, so that they do not count.
func (s *resumePoints) beginRemade(ctx context.Context, found map[topicPartition]resumePoint, remade []topicPartition, past map[topicPartition]*history) error {
	var records []*kgo.Record
	for _, tp := range remade {
		at, past := found[tp], past[tp]
		switch {
		case past.empty():
			continue
		case !past.own.empty():
			found[tp] = s.afterExpiry(tp, at, past.own)
			continue
		}
		fact := &obligation.Seek{
			Reaction: s.reaction, Topic: tp.topic, Partition: tp.partition, TopicID: obligation.TopicID(at.topic),
			From: past.end(), To: at.position, Epoch: 1, Who: "the topic was made again", At: time.Now().UTC(),
		}
		if past.Seek != nil {
			fact.Epoch = past.Seek.Epoch + 1
		}
		at.epoch = fact.Epoch
		found[tp] = at
		records = append(records, recordOfFact(fact))
	}
	if len(records) == 0 {
		return nil
	}
	return s.client.ProduceSync(ctx, records...)
}

// topicIDs returns the present ids of those topics that exist, by name.
func (s *resumePoints) topicIDs(ctx context.Context, partitions map[string]map[int32]kgo.Offset) (map[string]topicID, error) {
	listing, err := s.client.Topics(ctx, func(name string) bool { _, ok := partitions[name]; return ok })
	if err != nil {
		return nil, err
	}
	ids := make(map[string]topicID)
	for _, t := range listing.Topics {
		ids[t.Name] = t.ID
	}
	return ids, nil
}

// afterExpiry returns the point of a partition without a committed position: after everything that its marks say is
// done. at is where a new reaction would begin.
func (s *resumePoints) afterExpiry(tp topicPartition, at resumePoint, past *history) resumePoint {
	if past.empty() {
		return at // a crash has interrupted the first start
	}
	at.untouched = false
	if past.Seek != nil {
		at.position, at.epoch = past.Seek.To, past.Seek.Epoch
	}
	at.ahead = past.Done
	at.position = at.ahead.AdvancePast(at.position)
	s.log.Warn("the group has no position here any more: the reaction goes on after what it has marked",
		"topic", tp.topic, "partition", tp.partition, "position", at.position)
	return at
}

// obeySeeks sets, in the points of partitions whose position was moved by hand, the epoch of the seek and the offsets
// done ahead. If the move was not recorded, it records a seek: from then on, events at and above the new position are
// to be handled again.
func (s *resumePoints) obeySeeks(ctx context.Context, found map[topicPartition]resumePoint, moved []topicPartition, past map[topicPartition]*history) error {
	var records []*kgo.Record
	for _, tp := range moved {
		at, past := found[tp], past[tp]
		if past.Seek != nil {
			at.epoch = past.Seek.Epoch
		}
		if past.Seek == nil || past.Seek.To != at.position {
			at.epoch++
			fact := &obligation.Seek{
				Reaction: s.reaction, Topic: tp.topic, TopicID: obligation.TopicID(at.topic), Partition: tp.partition,
				From: past.position, To: at.position, Epoch: at.epoch, Who: "unknown", At: time.Now().UTC(),
			}
			if past.empty() {
				fact.From = s.subs.byTopic[tp.topic].Start[tp.partition]
			}
			s.log.Warn("somebody has moved the position", "topic", tp.topic, "partition", tp.partition, "from", fact.From, "to", fact.To)
			records = append(records, recordOfFact(fact))
			past.add(fact)
		}
		at.ahead = past.Done.CutFrom(at.position)
		found[tp] = at
	}
	if len(records) == 0 {
		return nil
	}
	return s.client.ProduceSync(ctx, records...)
}

// recordOfFact returns the record that stores a fact of package obligation.
func recordOfFact(f obligation.Fact) *kgo.Record {
	return &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)}
}

package story

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// An indexer appends a fact to tidings.story after it has read the events of the story. An index that is being
// rebuilt, or whose indexer is not elected, may read the fact before the events. If it dropped the fact, the story
// would seem to have no verdict and would get a second one. Therefore, if the newest fact of a story may cover events
// that the index has not read, it is kept in the bucket ahead, by correlation, and applied as the events are read.

// keepAhead keeps the fact that a record of tidings.story has if the fact may cover events that the index has not read.
// Otherwise it deletes the fact that was kept for the same story.
func (tx *writeTx) keepAhead(r *kgo.Record, fact obligation.Fact) {
	var correlation string
	ahead := false
	switch f := fact.(type) {
	case *obligation.Settled:
		correlation = f.Correlation
		for _, end := range f.Through {
			ahead = ahead || tx.isAhead(end)
		}
	case *obligation.Reopened:
		correlation = f.Correlation
		_, known := tx.findStory(correlation)
		ahead = !known
	}
	if correlation == "" || len(correlation) > maxAheadKey {
		return
	}
	key := []byte(correlation)
	switch {
	case ahead:
		tx.put(tx.ahead, key, r.Value)
		tx.anyAhead = true
	case tx.anyAhead && tx.ahead.Get(key) != nil:
		if err := tx.ahead.Delete(key); err != nil {
			tx.fail(err)
		}
	}
}

// maxAheadKey is the maximum length in bytes of a key in the bucket ahead. Correlations in the index are always
// shorter.
const maxAheadKey = 1024

// isAhead reports whether events below a position may be unread: the topic exists, and the index has not read up to
// the position.
func (tx *writeTx) isAhead(end obligation.Position) bool {
	n, ok := tx.ix.topics[end.Topic]
	return ok && end.TopicID.Is(tx.ix.topicOf[n].id) && tx.ix.positions[partition{n, end.Partition}] < end.Offset
}

// onEventBehind is called after an event of story n was added and counted. If a fact is kept for the story, it is
// applied: in full with the first event of the story, and with each later event to record that the fact covers this
// event as well. current tells whether the fact covered all events of the story before this one.
func (tx *writeTx) onEventBehind(r *kgo.Record, at location, n storyNum, current bool) {
	if !tx.anyAhead {
		return
	}
	s := tx.story(n)
	value := tx.ahead.Get([]byte(s.correlation))
	if value == nil {
		return
	}
	f, err := obligation.Decode(value)
	if err != nil {
		tx.fail(err) // cannot happen: keepAhead has decoded the same bytes
		return
	}
	switch f := f.(type) {
	case *obligation.Settled:
		t := tx.ix.topicOf[at.topic]
		covers := f.CoversIn(t.name, t.id, at.partition.partition, at.offset)
		switch {
		case s.rows == 1:
			tx.onVerdict(r, n, f.Episode, true, covers)
		case covers && current && s.episode == f.Episode:
			s.current = true
			tx.ix.judge.touch(n, &s.standing)
		}
	case *obligation.Reopened:
		if s.rows == 1 {
			tx.onVerdict(r, n, f.Episode, false, false)
		}
	}
}

package story

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// Apply adds records to the index in one transaction. The records of one partition must be in order of offset; the
// order between partitions does not matter. Apply skips records that the index already has, and records of tidings.*
// topics that Tidings has not written. It keeps neither the slice nor the records.
//
// [Indexer.Run] calls Apply with the records that it fetches. Apply blocks while another write or a query is under
// way. Its errors match [ErrClosed] or [ErrDamaged], or come from the operating system. After an error the index
// still answers queries but takes no more records until it is opened again.
func (ix *Index) Apply(records []*kgo.Record) error { return ix.applyWithin(records, nil, nil) }

// applyWithin is Apply with the ends of partitions, by the names of their topics, which were asked for after the records
// were read, and with the ends of leader epochs. Offsets in subscriptions that are above the ends are not believed, nor
// are marks about records that are lost.
func (ix *Index) applyWithin(records []*kgo.Record, ends logclient.Offsets, lost lostEnds) error {
	return ix.write(func(tx *writeTx) {
		tx.ends, tx.lost = ends, lost
		if len(records) > manyRecords {
			tx.hashes.keep()
		}
		// Marks come before events, so that an event that is already done is never counted as open. Verdicts come
		// last, so that a story.settled covers the events that were read with it.
		for _, topic := range []string{obligation.SubscriptionsTopic, obligation.ReactionsTopic, "", obligation.StoryTopic} {
			for _, r := range records {
				own := r.Topic
				switch own {
				case obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic:
				default:
					own = ""
				}
				if own == topic {
					tx.add(r)
				}
			}
		}
	})
}

// manyRecords is the number of records above which a transaction keeps the pieces of runs that it reads.
const manyRecords = 200

// add adds one record, unless the index already has it.
func (tx *writeTx) add(r *kgo.Record) {
	if tx.err != nil {
		return
	}
	p := partition{tx.topicNum(r.Topic), r.Partition}
	if r.Offset < tx.ix.positions[p] {
		return
	}
	tx.ix.positions[p] = r.Offset + 1
	if tx.ix.tails[p] == nil {
		tx.ix.tails[p] = newTail()
	}
	tx.ix.tails[p].add(r)
	tx.moved[p] = struct{}{}
	if r.Attrs.IsControl() {
		return
	}
	switch {
	case r.Topic == obligation.SubscriptionsTopic:
		tx.addSubscription(r)
	case r.Topic == obligation.ReactionsTopic:
		tx.addReactionRecord(r)
	case r.Topic == obligation.StoryTopic:
		tx.addVerdict(r)
	case !obligation.Internal(r.Topic):
		tx.addEvent(r, location{p, r.Offset})
	}
}

// decode returns the fact in a record of a tidings.* topic. It returns nil if the record holds none, as any client
// can write to these topics.
func (tx *writeTx) decode(r *kgo.Record) obligation.Fact {
	f, err := obligation.Decode(r.Value)
	if err != nil {
		if errors.Is(err, obligation.ErrMalformed) {
			tx.ix.log.Warn("story index skips a record", "topic", r.Topic, "offset", r.Offset, "why", err)
		}
		return nil
	}
	return f
}

// addSubscription adds a record of tidings.subscriptions, which is a subscription or a tombstone.
func (tx *writeTx) addSubscription(r *kgo.Record) {
	if r.Value == nil { // a tombstone
		for _, li := range tx.ix.judge.listeners[string(r.Key)] {
			li.own = nil
			tx.resubscribe(li)
		}
		return
	}
	sub, ok := tx.decode(r).(*obligation.Subscription)
	if !ok || sub.Key() != string(r.Key) || obligation.Internal(sub.Topic) {
		return
	}
	li := tx.listener(sub.Reaction, sub.Topic, tx.topicOfFact(sub.Topic, sub.TopicID))
	if possible := sub.Possible(li.own, tx.endOf); possible != sub {
		tx.ix.log.Warn("story index does not believe offsets of a subscription that are above the ends of their partitions", "offset", r.Offset, "reaction", sub.Reaction, "topic", sub.Topic, "start", sub.Start, "since", sub.Since, "type_since", sub.TypeSince)
		sub = possible
	}
	switch {
	case !sub.Plausible(li.own):
		tx.ix.log.Warn("story index skips a subscription with a revision that nobody has given", "offset", r.Offset, "reaction", sub.Reaction, "topic", sub.Topic, "revision", sub.Revision)
		return
	case sub.Supersedes(li.own):
		li.own = sub
	case sub.Revision == li.own.Revision:
		li.own = obligation.Merge(li.own, sub)
	default:
		return
	}
	tx.resubscribe(li)
	for _, other := range slices.Clone(tx.ix.judge.listeners[li.key]) {
		if other != li {
			tx.resubscribe(other)
		}
	}
	if now, ok := tx.ix.topics[sub.Topic]; ok && tx.ix.judge.listener(li.key, now) == nil {
		tx.resubscribe(tx.listener(sub.Reaction, sub.Topic, now))
	}
}

// endOf returns the end of a partition from tx.ends. It is an [obligation.Ends]. The end of a topic that was deleted, or
// that the index does not read yet, is not known.
func (tx *writeTx) endOf(topic string, id obligation.TopicID, partition int32) (end int64, known bool) {
	if n, ok := tx.ix.topics[topic]; !ok || !id.Is(tx.ix.topicOf[n].id) {
		return 0, false
	}
	end, known = tx.ends[topic][partition]
	return end, known
}

// subscribe replaces the subscription of a listener. A nil sub ends it.
func (tx *writeTx) subscribe(li *listener, sub *obligation.Subscription) {
	ends := make(map[int32]int64)
	for p, end := range tx.ix.positions {
		if p.topic == li.topic {
			ends[p.partition] = end
		}
	}
	tx.ix.judge.onSubscription(tx, li, sub, tx.nameNum, ends)
	tx.putListener(li)
}

// addReactionRecord adds a record of tidings.reactions: marks, a retry, a running handler or a seek.
func (tx *writeTx) addReactionRecord(r *kgo.Record) {
	switch f := tx.decode(r).(type) {
	case *obligation.Marks:
		if now, ok := tx.ix.topics[f.Topic]; ok {
			f = tx.lost.believable(f, tx.ix.topicOf[now].id)
		}
		li := tx.listener(f.Reaction, f.Topic, tx.topicOfFact(f.Topic, f.TopicID))
		if tx.ix.judge.onMarks(tx, li, f, tx.through(f)) {
			tx.writeCoverage(li)
			tx.addNotes(li, f, r.Offset)
			tx.addTimings(li, f, r.Offset)
		}
	case *obligation.Retrying:
		n := note{kind: noteRetrying, order: r.Offset, attempts: f.Attempt, text: f.Error, at: f.At, next: f.Next, since: f.First}
		tx.put(tx.notes, noteKey(tx.listener(f.Reaction, f.Topic, tx.topicOfFact(f.Topic, f.TopicID)).num, f.Partition, f.Offset), n.encode())
	case *obligation.Running:
		n := note{kind: noteRunning, order: r.Offset, attempts: f.Attempt - 1, at: f.At, since: f.Since}
		tx.put(tx.notes, noteKey(tx.listener(f.Reaction, f.Topic, tx.topicOfFact(f.Topic, f.TopicID)).num, f.Partition, f.Offset), n.encode())
	case *obligation.Seek:
		li := tx.listener(f.Reaction, f.Topic, tx.topicOfFact(f.Topic, f.TopicID))
		switch last := li.coverage(f.Partition).epoch; {
		case tx.ix.judge.onSeek(tx, li, f):
			tx.writeCoverage(li)
		case f.Epoch > last:
			tx.ix.log.Warn("story index skips a seek with an epoch that nobody has given", "offset", r.Offset, "reaction", f.Reaction, "topic", f.Topic, "epoch", f.Epoch, "last", last)
		}
	}
}

// through returns where marks have emitted to. Positions are left out that name no topic, or none by its id.
func (tx *writeTx) through(m *obligation.Marks) (through []reach) {
	for _, p := range m.Through {
		if p.Topic != "" && p.TopicID != (obligation.TopicID{}) && !obligation.Internal(p.Topic) {
			at := reach{location{partition{tx.topicOfFact(p.Topic, p.TopicID), p.Partition}, p.Offset}, p.Span}
			if p.Span < 0 || p.Span > p.Offset {
				at.span = 0
			}
			through = append(through, at)
		}
	}
	return through
}

// addVerdict adds a record of tidings.story. If it covers events that the index has not read, it is also kept for
// them (keepAhead).
func (tx *writeTx) addVerdict(r *kgo.Record) {
	fact := tx.decode(r)
	tx.keepAhead(r, fact)
	switch f := fact.(type) {
	case *obligation.Settled:
		if n, ok := tx.findStory(f.Correlation); ok {
			complete := true
			for _, at := range tx.story(n).through {
				t := tx.ix.topicOf[at.topic]
				complete = complete && (t.gone || f.CoversIn(t.name, t.id, at.partition.partition, at.offset-1))
			}
			tx.onVerdict(r, n, f.Episode, true, complete)
		}
	case *obligation.Reopened:
		if n, ok := tx.findStory(f.Correlation); ok {
			tx.onVerdict(r, n, f.Episode, false, false)
		}
	}
}

// onVerdict passes a fact about story n to the judge. It logs a warning if the episode of the fact is too high to be
// genuine.
func (tx *writeTx) onVerdict(r *kgo.Record, n storyNum, episode int, settled, complete bool) {
	last := tx.story(n).episode
	if !tx.ix.judge.onVerdict(tx, n, episode, settled, complete) && episode > last {
		tx.ix.log.Warn("story index skips a fact with an episode that nobody has given", "offset", r.Offset, "correlation", tx.story(n).correlation, "episode", episode, "last", last)
	}
}

// addEvent adds a record of a topic of applications.
func (tx *writeTx) addEvent(r *kgo.Record, at location) {
	e := readEvent(r)
	n := tx.storyOf(&e)
	s := tx.story(n)
	row := eventRow{
		eventHead: eventHead{story: n, typ: tx.nameNum(e.Type)},
		foreign:   e.Foreign, source: tx.nameNum(e.Source), reaction: tx.nameNum(e.Reaction),
		time: e.Time, causation: e.Causation, subject: e.Subject,
	}
	var idHash uint64
	if !e.Foreign {
		row.id = e.ID
		idHash = tx.ix.seed.text(hashEvent, e.ID)
		row.copy = tx.addEventID(&row, idHash, at, s.rows/storyGroup)
		s.publishable = true
	}
	if s.rows == 0 {
		s.root, s.first, s.last, s.subject = e.ID, e.Time, e.Time, e.Subject
	}
	if e.Causation != "" && e.Causation != e.Correlation {
		row.cause = s.recordOf(tx.ix.seed.text(hashEvent, e.Causation))
	}
	tx.appendEvent(at, &row, s)
	tx.addRecord(n, s, at, idHash)
	if e.Causation == "" && !e.Foreign && e.ID == e.Correlation {
		s.root = e.ID // the root event may be read after events that it caused, as these are in other partitions
	}
	switch root := e.Causation == "" && !e.Foreign && e.ID == e.Correlation; {
	case e.Reaction != "": // a handler has emitted it
	case root && !s.rooted:
		s.rooted = true
	case row.copy == onlyCopy:
		s.joined = true
	}
	if e.Time.Before(s.first) {
		s.first = e.Time
	}
	if e.Time.After(s.last) {
		s.last = e.Time
	}
	if row.copy.counts() {
		tx.ix.stats.Events++
	}
	if other := e.Subject != s.subject; s.rows == 1 || other {
		tx.addSubject(e.Subject, n)
		s.subjects = s.subjects || other
	}
	tx.addTrace(e.TraceParent, n, s)
	current := s.current
	tx.ix.judge.onEvent(tx, at, row.eventHead)
	tx.onEventBehind(r, at, n, current)
}

package story

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tidings.dev/internal/cloudevent"
)

// Limits on the size of one answer.
const (
	pageStories = 20      // stories, unless the caller passes a limit
	maxEvents   = 5000    // records of events that an answer shows in full
	maxScanned  = 1 << 18 // records that are scanned for open obligations
)

// Story returns the story of a key: everything that happened to it. A key is one of the things that [Index.Find]
// accepts; it may lead to several stories. Story answers from the index without asking the log. live adds what the
// brokers know, and may be the zero value. [Indexer.Story] brings the index up to date first and reads live itself.
//
// Standing and Sentence cover all stories that the key leads to. If there are several, at most 20 are returned: first
// those with open obligations, the worst first, then the newest. [Index.Stories] takes another limit. Stories that
// have settled are also listed in Settled. At most 5,000 records of events are returned. LeftStories and LeftEvents
// count the stories and records that are left out.
//
// The error matches [ErrNotFound] if the key leads to no story, [ErrClosed] after Close, or [ErrDamaged] if the file
// cannot be read. An empty key is an error, too. The caller owns the Story.
func (ix *Index) Story(key string, live Live) (*Story, error) { return ix.Stories(key, 0, live) }

// Stories is like [Index.Story] but returns at most limit stories. 0 means 20, and a negative limit means all.
func (ix *Index) Stories(key string, limit int, live Live) (*Story, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	var s *Story
	err := ix.read(func(tx *readTx) error {
		found := tx.find(key)
		if len(found.refs) == 0 {
			return cmp.Or(tx.err, fmt.Errorf("%w: nothing is known of %q", ErrNotFound, key))
		}
		s = newAnswer(tx, live).story(key, found, limit)
		return tx.err
	})
	return s, err
}

// locatedEvent is an event together with its location and the number of its type in the index.
type locatedEvent struct {
	*Event
	at        location
	typ       nameNum
	causeGone bool // the event that has caused it was forgotten; Causation is empty
}

// offsets returns the offsets of all copies of the event, ascending.
func (e *locatedEvent) offsets() []int64 { return append([]int64{e.Offset}, e.Copies...) }

// eventsOf returns the events of a story in the order in which they were read, with copies joined. It reads at most
// limit records of the story, and returns in left how many more there are. The events have no obligations and no
// children yet.
func (tx *readTx) eventsOf(ref Ref, limit int) (events []*locatedEvent, left int) {
	type copied struct { // what all copies of one event have in common
		partition
		source, typ nameNum
		id          string
	}
	firsts := make(map[copied]*locatedEvent)
	story := tx.story(ref.num)
	var ids []string // of the records from number first on; empty for those that were forgotten
	rows, first := 0, 1
	tx.fail(story.records(tx.bolt.Bucket(bucketStoryEvents), ref.num, func(number int, at location) bool {
		if ids == nil {
			first = number
		}
		ids = append(ids, make([]string, number-first-len(ids))...)
		r := newBlockReader(tx.bolt.Bucket(bucketEvents).Get(blockKey(at)))
		if !r.seek(at.offset) {
			if at.offset >= tx.ix.forgotten[at.partition] || r.Err() != nil {
				tx.fail(errRow)
				return false
			}
			ids = append(ids, "")
			return true
		}
		if rows++; rows > limit {
			left = max(int(story.rows-story.gone)-limit, 1)
			return false
		}
		row, err := r.event(story)
		ids = append(ids, row.id)
		causeGone := false
		switch cause := int(row.cause); {
		case cause == 0:
		case cause >= number:
			err = cmp.Or(err, errRow)
		case cause < first:
			causeGone = true
		default:
			row.causation = ids[cause-first]
			causeGone = row.causation == ""
		}
		tx.fail(err)
		same := copied{at.partition, row.source, row.typ, row.id}
		if first := firsts[same]; first != nil && !row.copy.counts() {
			first.Copies = append(first.Copies, at.offset)
			return true
		}
		e := &locatedEvent{at: at, typ: row.typ, causeGone: causeGone, Event: &Event{
			ID: row.id, Type: tx.ix.nameOf[row.typ], Subject: row.subject, Source: tx.ix.nameOf[row.source],
			Reaction: tx.ix.nameOf[row.reaction], Correlation: ref.Correlation, Causation: row.causation, Time: row.time,
			Topic: tx.ix.topicOf[at.topic].name, Partition: at.partition.partition, Offset: at.offset, Foreign: row.foreign,
		}}
		if e.Foreign {
			e.ID = cloudevent.ForeignID(e.Topic, e.Partition, e.Offset)
		}
		if row.copy == firstCopy {
			firsts[same] = e
		} else if !row.copy.counts() { // the first is in another story, or was forgotten
			e.CopyOf = tx.correlationOfFirst(at, &row)
			firsts[same] = e
		}
		events = append(events, e)
		return true
	}))
	return events, left
}

// correlationOfFirst returns the correlation of the story that has the first record of an event, of which row at a location is a copy.
// It returns "" if the first record was forgotten.
func (tx *readTx) correlationOfFirst(at location, row *eventRow) string {
	for _, other := range tx.locationsOf(row.id) {
		if other.partition != at.partition {
			continue
		}
		if first, ok := tx.event(other); ok && first.copy.counts() && first.source == row.source && first.typ == row.typ {
			return tx.story(first.story).correlation
		}
	}
	return ""
}

// causalTree puts each event among the children of its cause and returns the roots, oldest first. Every event is in
// the tree exactly once, whatever causes the records claim: an event whose cause is missing, or that is among its own
// causes, becomes a root with CauseMissing.
func causalTree(all []*locatedEvent) []*Event {
	slices.SortStableFunc(all, func(a, b *locatedEvent) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	known := newCauses(all)
	caused := make(map[*Event][]*Event) // by cause
	var roots, others []*Event
	for _, e := range all {
		cause := known.of(e)
		switch {
		case e.Causation == "" && !e.causeGone:
			roots = append(roots, e.Event)
		case cause == nil:
			e.CauseMissing = true
			roots = append(roots, e.Event)
		default:
			caused[cause] = append(caused[cause], e.Event)
			others = append(others, e.Event)
		}
	}
	added := make(map[*Event]bool)
	var addCaused func(*Event)
	addCaused = func(e *Event) {
		added[e] = true
		for _, c := range caused[e] {
			if !added[c] {
				e.Children = append(e.Children, c)
				addCaused(c)
			}
		}
	}
	for _, r := range roots {
		addCaused(r)
	}
	// The events that are not in the tree yet are in a cycle of causes, or follow from one.
	for _, e := range others {
		if !added[e] {
			e.CauseMissing = true
			roots = append(roots, e)
			addCaused(e)
		}
	}
	return roots
}

// worse returns the standing that is farther from settled.
func worse(a, b Standing) Standing {
	order := []Standing{StandingSettled, StandingQuiet, StandingOpen}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

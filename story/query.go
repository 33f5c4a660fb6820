package story

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"tidings.dev/internal/obligation"
)

// How much one question may bring up.
const (
	maxStories = 20
	maxEvents  = 5000
)

// Story tells what happened: to the correlation or event with this id, to the subject or record key, or in the trace.
// Of many stories with one subject it tells the newest. live may be the zero value. The error matches ErrNotFound when
// there is nothing of that name.
func (ix *Index) Story(word string, live Live) (*Story, error) {
	var s *Story
	err := ix.view(func(v *view) error {
		refs, left := v.find(word, maxStories, false)
		if len(refs) == 0 {
			return cmp.Or(v.err, fmt.Errorf("%w: nothing is known of %q", ErrNotFound, word))
		}
		s = v.tell(word, refs, live)
		s.LeftStories = left
		return v.err
	})
	if err != nil {
		return nil, err
	}
	s.Sentence = sentence(s)
	return s, nil
}

// tell puts a story together.
func (v *view) tell(word string, refs []Ref, live Live) *Story {
	s := &Story{Query: word, AsOf: time.Now().UTC(), Standing: StandingSettled}
	var all []*placed
	for _, ref := range refs {
		events, left := v.eventsOf(ref, maxEvents-len(all))
		all = append(all, events...)
		s.LeftEvents += left
		s.Correlations = append(s.Correlations, ref.Correlation)
		s.Events += ref.Events
		s.Standing = worse(s.Standing, ref.Standing)
	}
	o := owing{view: v, live: live, waiting: make(map[waitKey][]*Obligation)}
	for _, e := range all {
		o.fill(e)
	}
	o.countBehind()
	for _, e := range all {
		s.Last = latest(s.Last, e.Time)
		if s.First.IsZero() || e.Time.Before(s.First) {
			s.First = e.Time
		}
		for _, ob := range e.Obligations {
			s.Last = latest(s.Last, ob.At)
			if ob.Open() {
				s.Standing = StandingOpen
			}
		}
	}
	s.Roots = tree(all)
	return s
}

// placed is an event with what the index calls it.
type placed struct {
	*Event
	at  place
	typ nameNum
}

// offsets gives those of all copies.
func (p *placed) offsets() []int64 { return append([]int64{p.Offset}, p.Copies...) }

// eventsOf gives the events of a story, copies put together, and how many rows are left out.
func (v *view) eventsOf(ref Ref, limit int) ([]*placed, int) {
	type identity struct {
		partition
		id  string
		typ nameNum
	}
	var all []*placed
	firsts := make(map[identity]*placed)
	prefix := u64Key(uint64(ref.num))
	c := v.tx.Bucket(bucketStoryEvents).Cursor()
	rows := 0
	for k, b := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, b = c.Next() {
		if rows++; rows > limit {
			return all, max(int(v.story(ref.num).rows)-limit, 1)
		}
		if len(b) != 16 {
			v.fail(errRow)
			return all, 0
		}
		at := placeFromKey(b)
		row, ok := v.event(at)
		if !ok {
			continue
		}
		same := identity{at.partition, row.id, row.typ}
		if first := firsts[same]; first != nil && row.copy == laterCopy {
			first.Copies = append(first.Copies, at.offset)
			continue
		}
		e := &placed{at: at, typ: row.typ, Event: &Event{
			ID: row.id, Type: v.ix.nameOf[row.typ], Subject: row.subject, Source: v.ix.nameOf[row.source],
			Reaction: v.ix.nameOf[row.reaction], Correlation: ref.Correlation, Causation: row.causation, Time: row.time,
			Topic: v.ix.topicOf[at.topic].name, Partition: at.partition.partition, Offset: at.offset, Foreign: row.foreign,
		}}
		if e.Foreign {
			e.ID = obligation.ForeignID(e.Topic, e.Partition, e.Offset)
		}
		if row.copy == firstCopy {
			firsts[same] = e
		}
		all = append(all, e)
	}
	return all, 0
}

// tree puts events under their causes and gives the roots. Whatever headers claim, every event is in it once.
func tree(all []*placed) []*Event {
	slices.SortStableFunc(all, func(a, b *placed) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	byID := make(map[string]*Event, len(all))
	for _, e := range all {
		if byID[e.ID] == nil {
			byID[e.ID] = e.Event
		}
	}
	children := make(map[*Event][]*Event)
	var roots, later []*Event
	for _, e := range all {
		cause := byID[e.Causation]
		switch {
		case e.Causation == "":
			roots = append(roots, e.Event)
		case cause == nil:
			e.CauseMissing = true
			roots = append(roots, e.Event)
		default:
			children[cause] = append(children[cause], e.Event)
			later = append(later, e.Event)
		}
	}
	seen := make(map[*Event]bool)
	var grow func(*Event)
	grow = func(e *Event) {
		seen[e] = true
		for _, c := range children[e] {
			if !seen[c] {
				e.Children = append(e.Children, c)
				grow(c)
			}
		}
	}
	for _, r := range roots {
		grow(r)
	}
	// What is left claims to be among its own causes.
	for _, e := range later {
		if !seen[e] {
			e.CauseMissing = true
			roots = append(roots, e)
			grow(e)
		}
	}
	return roots
}

func worse(a, b Standing) Standing {
	order := []Standing{StandingSettled, StandingQuiet, StandingOpen}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

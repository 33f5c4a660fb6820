package story

import (
	"slices"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// This file keeps standing.open, the count of open obligations, equal to its definition. The judge calls one of the
// functions below for each record that was read. The partitions may be read in any order: a mark may be read before
// the event that it is about, and an event before the subscription that obliges a reaction to handle it.

// Numbers that the index assigns to names, so that rows are small. No topic and no story has the number 0.
type (
	topicNum uint32 // a topic; a topic that was deleted and created again gets a new number
	nameNum  uint32 // an event type, a source or a reaction; 0 is the empty name
	storyNum uint64 // a story, that is, a correlation
)

// partition identifies a partition of a topic.
type partition struct {
	topic     topicNum
	partition int32
}

// location is the place of a record in the log.
type location struct {
	partition
	offset int64
}

// copyKind says whether a record shares its event with other records. A handler that runs twice emits the same event
// twice; the two records are copies of one event and lie in one partition. A listener that has done one of the copies
// has done the event.
type copyKind uint8

const (
	// onlyCopy is a record whose event has no other record that was read.
	onlyCopy copyKind = iota
	// firstCopy is the record with the lowest offset of several of one event.
	firstCopy
	// laterCopy is any other record of an event that has several.
	laterCopy
	// surplusCopy is a record of an event that has maxCopies others. It counts as no event, and what listeners have done with it
	// changes nothing: the event is done as one of the others is.
	surplusCopy
)

// counts reports whether the record counts as an event.
func (k copyKind) counts() bool { return k == onlyCopy || k == firstCopy }

// eventHead is the part of an event's row that the judge needs.
type eventHead struct {
	story storyNum
	typ   nameNum
	copy  copyKind
}

// eventStore gives the judge the events and stories that were read. writeTx implements it on the index file; the
// model test implements it in memory. The methods return no errors: an implementation that fails returns zero values
// and reports the error when the transaction ends.
type eventStore interface {
	// scan calls yield for the events of p at offsets in [lo, hi), ascending, until yield returns false. yield may
	// change standings but nothing else in the store.
	scan(p partition, lo, hi int64, yield func(offset int64, e eventHead) bool)
	// copies returns the offsets of all records of the event at a location, ascending, but for those with surplusCopy. They include
	// the offset of the location itself, which must not be such a record.
	copies(at location) []int64
	// standing returns the standing of story n. The judge may change it in place until the transaction ends.
	standing(n storyNum) *standing
	logReader
}

// logReader says how far the log was read.
type logReader interface {
	// position returns the offset below which all of a partition was read, or was removed before it was.
	position(p partition) int64
	// missed returns what was removed of a partition before it was read.
	missed(p partition) miss
	// allMissed returns the offset after what was removed unread of each partition of which something was.
	allMissed() []location
	// marksRemoved reports whether marks were removed before they were read.
	marksRemoved() bool
}

// storyReader has what is needed to judge a candidate. Like eventStore it returns no errors.
type storyReader interface {
	standing(n storyNum) *standing // must not be changed
	logReader
	// eventsOf calls yield with where the records of a story are, until yield returns false.
	eventsOf(n storyNum, yield func(at location) bool)
}

// onEvent counts a record that was just added to the store at a location.
func (j *judge) onEvent(store eventStore, at location, e eventHead) {
	s := store.standing(e.story)
	p := at.partition.partition
	switch e.copy {
	case surplusCopy:
	case laterCopy:
		// The first copy has counted the event. If a mark for this copy was read before the copy itself, the event
		// becomes done now.
		copies := store.copies(at)
		first, others := copies[0], slices.DeleteFunc(slices.Clone(copies), func(o int64) bool { return o == at.offset })
		for _, li := range j.byTopic[at.topic] {
			if li.obliges(p, first, e.typ) {
				c := li.coverage(p)
				if c.hasAny(copies) && !c.hasAny(others) {
					j.addOpen(store, storyOf(store, at.partition, first, at.offset, e), -1)
				}
			}
		}
	default:
		s.events++
		for _, li := range j.byTopic[at.topic] {
			if li.obliges(p, at.offset, e.typ) && !li.coverage(p).done.Contains(at.offset) {
				s.open++
			}
		}
	}
	s.current = false
	j.touch(e.story, s)
}

// storyOf returns the story that counts an event: that of the record with firstCopy, which is at offset first. e is the record at offset,
// which has the same event and may be of another story, since senders choose correlations.
func storyOf(store eventStore, p partition, first, offset int64, e eventHead) storyNum {
	if first != offset {
		store.scan(p, first, first+1, func(_ int64, counted eventHead) bool { e = counted; return false })
	}
	return e.story
}

// onMarks adds what a listener has recorded as done, and reports whether the marks count. They do not if their epoch
// is lower than that of the newest seek, because their writer did not know of the seek. If they count, the caller
// must write the listener's coverage.
//
// through has the positions that the emissions for events in m reach. What m.Through has beyond that is not known.
func (j *judge) onMarks(store eventStore, li *listener, m *obligation.Marks, through []reach) bool {
	c := li.coverage(m.Partition)
	if m.Epoch < c.epoch {
		return false
	}
	if e, ok := reachOf(m, through); ok {
		j.addEmission(store, partition{li.topic, m.Partition}, c, e)
	}
	if c.position < store.missed(partition{li.topic, m.Partition}).Hi {
		j.retryIncomplete() // the position may be past what was removed
	}
	c.dirty = true // m.Epoch is not stored: only a seek changes the epoch of a coverage
	c.position = max(c.position, m.Position)
	for _, r := range m.Done {
		j.markDone(store, li, m.Partition, r.Lo, r.Hi)
	}
	for _, r := range m.Unhandled {
		c.unhandled.Add(r.Lo, r.Hi)
	}
	for _, copied := range m.Copies {
		if c.done.Contains(copied.Of) {
			j.addCopy(store, partition{li.topic, m.Partition}, c, copied)
			j.markDone(store, li, m.Partition, copied.Offset, copied.Offset+1)
		} else {
			c.copies = append(c.copies, copied)
			if copied.Offset < store.missed(partition{li.topic, m.Partition}).Hi {
				j.retryIncomplete() // what was removed may be a copy
			}
		}
	}
	return true
}

// markDone adds the offsets [lo, hi) of partition p to what a listener has done, and also the copies that wait for
// one of these offsets. It subtracts the obligations that are thereby met.
func (j *judge) markDone(store eventStore, li *listener, p int32, lo, hi int64) {
	c := li.coverage(p)
	at := partition{li.topic, p}
	var gaps []offsets.Range // collected first, because the set must not change while its gaps are iterated
	for gapLo, gapHi := range c.done.Gaps(lo, hi) {
		gaps = append(gaps, offsets.Range{Lo: gapLo, Hi: gapHi})
	}
	if len(gaps) > 0 && gaps[0].Lo < store.missed(at).Hi {
		j.retryIncomplete() // what was removed may be done
	}
	for _, r := range gaps {
		store.scan(at, r.Lo, r.Hi, func(offset int64, e eventHead) bool {
			if e.copy == surplusCopy {
				return true
			}
			j.unfreeze(e.story)
			first := offset
			if e.copy != onlyCopy {
				copies := store.copies(location{at, offset})
				first = copies[0]
				// The offsets of r become done in ascending order, so a lower copy in r has already met the
				// obligation.
				if slices.ContainsFunc(copies, func(o int64) bool { return c.done.Contains(o) || r.Lo <= o && o < offset }) {
					return true
				}
			}
			if li.obliges(p, first, e.typ) {
				j.addOpen(store, storyOf(store, at, first, offset, e), -1)
			}
			return true
		})
		c.done.Add(r.Lo, r.Hi)
	}
	c.dirty = true
	var met []obligation.Copy
	c.copies = slices.DeleteFunc(c.copies, func(copied obligation.Copy) bool {
		if !c.done.Contains(copied.Of) {
			return false
		}
		met = append(met, copied)
		return true
	})
	for _, copied := range met {
		j.addCopy(store, at, c, copied)
		j.markDone(store, li, p, copied.Offset, copied.Offset+1)
	}
}

// onSeek applies a seek, which moved a listener's position by hand. A seek forward makes the offsets that it jumped
// over done. A seek back makes the offsets at or above its target not done. onSeek reports whether the seek is newer
// than the last one; if so, the caller must write the listener's coverage.
func (j *judge) onSeek(store eventStore, li *listener, s *obligation.Seek) bool {
	c := li.coverage(s.Partition)
	if !s.Follows(c.epoch) {
		return false
	}
	j.retryIncomplete() // what was removed may be jumped
	c.epoch, c.position, c.dirty = s.Epoch, s.To, true
	at := partition{li.topic, s.Partition}
	var undone offsets.Set
	if s.Back() {
		undone = c.done.CutFrom(s.To)
		c.unhandled.CutFrom(s.To)
		c.copies = slices.DeleteFunc(c.copies, func(copied obligation.Copy) bool { return copied.Offset >= s.To })
	}
	for _, r := range undone.Ranges() {
		store.scan(at, r.Lo, r.Hi, func(offset int64, e eventHead) bool {
			if e.copy == surplusCopy {
				return true
			}
			j.unfreeze(e.story)
			first := offset
			if e.copy != onlyCopy {
				copies := store.copies(location{at, offset})
				first = copies[0]
				// The offsets become not done in ascending order. If several copies of the event do, the last one
				// opens the obligation again.
				if slices.ContainsFunc(copies, func(o int64) bool { return c.done.Contains(o) || o > offset && undone.Contains(o) }) {
					return true
				}
			}
			if li.obliges(s.Partition, first, e.typ) {
				j.addOpen(store, storyOf(store, at, first, offset, e), +1)
			}
			return true
		})
	}
	if s.Back() {
		c.skipped = slices.DeleteFunc(c.skipped, func(g seekGap) bool { return g.Lo >= s.To })
		for i := range c.skipped {
			c.skipped[i].Hi = min(c.skipped[i].Hi, s.To)
		}
	}
	for lo, hi := range c.done.Gaps(s.From, s.To) {
		c.skipped = append(c.skipped, seekGap{offsets.Range{Lo: lo, Hi: hi}, s.Who, s.At})
	}
	j.markDone(store, li, s.Partition, s.From, s.To)
	return true
}

// onSubscription replaces the subscription of a listener and updates the counts of all stories that it concerns. A
// nil sub ends the subscription. num must return the number of a type. ends has, for each partition of the topic, the
// offset after the last record that the store has.
func (j *judge) onSubscription(store eventStore, li *listener, sub *obligation.Subscription, num func(typ string) nameNum, ends map[int32]int64) {
	before := *li
	li.set(sub, num)
	if before.obligesAs(li) {
		return
	}
	j.retryIncomplete() // what was removed may have been owed by this listener alone
	for p, end := range ends {
		// An event that is done is owed neither before nor after the change, so only the gaps between done offsets
		// have to be scanned.
		from := min(before.obligedFrom(p), li.obligedFrom(p))
		c := li.coverage(p)
		for lo, hi := range c.done.Gaps(from, end) {
			store.scan(partition{li.topic, p}, lo, hi, func(offset int64, e eventHead) bool {
				if !e.copy.counts() {
					return true
				}
				was, is := before.obliges(p, offset, e.typ), li.obliges(p, offset, e.typ)
				if was == is || e.copy == firstCopy && c.hasAny(store.copies(location{partition{li.topic, p}, offset})) {
					return true
				}
				if is {
					j.addOpen(store, e.story, +1)
				} else {
					j.addOpen(store, e.story, -1)
				}
				return true
			})
		}
	}
}

// addOpen adds n, which may be negative, to the number of open obligations of a story, and touches the story.
func (j *judge) addOpen(store eventStore, story storyNum, n int) {
	s := store.standing(story)
	s.open += n
	j.touch(story, s)
}

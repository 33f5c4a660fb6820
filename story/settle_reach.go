package story

import (
	"iter"
	"slices"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// The reach of marks: how far in the log what their handlers have emitted reaches. A story of which nothing is owed may still have
// events that were not read. The marks say where these end: when that was read, and only then, none is missing.

// emission is what the handlers of a listener have emitted, by the marks, for events of one partition: those at offsets in the
// range, and perhaps not for all of them.
type emission struct {
	offsets.Range
	through []reach // for each partition in which some of it lies
	unknown bool    // it is not recorded how far it reaches; through is empty
	tick    uint64  // judge.tick when the marks were read; 0 if that was before the index file was opened
}

// reach is where in a partition an emission lies.
type reach struct {
	location       // the partition, and the offset after the last of it
	span     int64 // number of offsets from the first of it to the last, all of which have had records; 0: not known
}

// first returns the offset of the first of it, or 0 if that is not known.
func (r reach) first() int64 {
	if r.span == 0 {
		return 0
	}
	return r.offset - r.span
}

// join makes r reach over both. Offsets between them count as if they had had records, since a story rather waits for too much.
func (r *reach) join(o reach) {
	first, known := min(r.first(), o.first()), r.span > 0 && o.span > 0
	r.offset, r.span = max(r.offset, o.offset), 0
	if known {
		r.span = r.offset - first
	}
}

// maxEmissions is how many emissions are kept of a listener in one partition. The two oldest become one if there are more.
const maxEmissions = 32

// maxTraced is of how many records of a story it is looked up whether what they led to was read. A larger one waits for all of the
// log.
const maxTraced = 1024

// passed reports whether everything below the offset of a location was read, or was removed before it was.
func (e *emission) passed(log logReader) bool {
	return !e.unknown && !slices.ContainsFunc(e.through, func(at reach) bool { return log.position(at.partition) < at.offset })
}

// removal is what may have been removed of an emission from one partition before it was read.
type removal struct {
	partition
	offsets.Range      // where it may have been
	real          bool // all of the range has had records, for certain
}

// removed yields what may have been removed of an emission before it was read. source is the partition of the events that it is for.
func (e *emission) removed(log logReader, source partition) iter.Seq[removal] {
	return func(yield func(removal) bool) {
		if e.Lo >= log.missed(source).end {
			return
		}
		through := e.through
		if e.unknown {
			for _, at := range log.allMissed() {
				through = append(through, reach{location: at})
			}
		}
		for _, at := range through {
			m := log.missed(at.partition)
			r := removal{at.partition, offsets.Range{Lo: max(m.Lo, at.first()), Hi: min(m.Hi, at.offset)}, at.span > 0 || at.offset <= m.Hi && !e.unknown}
			if r.Lo < r.Hi && !yield(r) {
				return
			}
		}
	}
}

// mayBeRemoved reports whether something of an emission may have been removed before it was read.
func (e *emission) mayBeRemoved(log logReader, source partition) bool {
	for range e.removed(log, source) {
		return true
	}
	return false
}

// mayOwe returns a listener that may owe an event that was removed unread, of which nothing but r is known. It returns nil if there is none.
func (j *judge) mayOwe(log logReader, r removal) *listener {
	for li := range j.owed(log, r) {
		return li
	}
	return nil
}

// owed yields the listeners that may owe an event that was removed unread, of which nothing but r is known, and where it may have been.
func (j *judge) owed(log logReader, r removal) iter.Seq2[*listener, offsets.Range] {
	return func(yield func(*listener, offsets.Range) bool) {
		for _, li := range j.byTopic[r.topic] {
			c := li.readCoverage(r.partition.partition)
			from, done := max(r.Lo, li.obligedFrom(r.partition.partition)), c.done
			if len(c.copies) > 0 { // their originals are owed, if they are
				done = done.Clone()
				for _, copied := range c.copies {
					done.Add(copied.Offset, copied.Offset+1)
				}
			}
			switch ranges := done.Ranges(); {
			case !r.real:
				// A position is past what was not handled if a topic has lost what it had in memory. That must not hold up those who have
				// emitted afterwards.
				from = max(from, c.position)
			case log.marksRemoved() && len(ranges) > 0:
				from = max(from, min(c.position, ranges[0].Lo))
			}
			for lo, hi := range done.Gaps(from, r.Hi) {
				if !yield(li, offsets.Range{Lo: lo, Hi: hi}) {
					return
				}
			}
		}
	}
}

// owesRoot returns a listener that may owe the event which a story began with, because that was removed before it was read; nil if there is
// none. All of the log must have been read. No event of the story was read then that a handler has not emitted. Nothing is known of the
// event, so whoever owes something that was removed unread may owe it.
func (j *judge) owesRoot(log logReader, s *standing) *listener {
	if s.rooted || s.joined || s.events == 0 {
		return nil
	}
	for _, at := range log.allMissed() {
		if li := j.mayOwe(log, removal{at.partition, log.missed(at.partition).Range, true}); li != nil {
			return li
		}
	}
	return nil
}

// passing is a round of the judge that has passed. all is true if all of the log was read up to its watermarks, and false if that is so of
// the subscriptions and the marks.
type passing struct {
	round uint64
	all   bool
}

// readBefore reports whether the marks that tell of an emission were read before a round began.
func (p passing) readBefore(e *emission) bool { return e.tick < p.round }

// doubtOfRemoved returns the doubt that comes from what may have been removed of an emission before it was read:
//
//	lost    a listener may owe it, or something that its handlers have emitted for it in turn was lost
//	unread  what its handlers have emitted for it in turn was not read yet, or the marks were read after the round had begun: they may tell of an
//	        emission to a reaction whose subscription was not read yet
func (j *judge) doubtOfRemoved(log logReader, source partition, e *emission, now passing) doubt {
	return j.followRemoved(log, source, e, now, make(map[*emission]bool))
}

// followRemoved is doubtOfRemoved for an emission, leaving out what has followed from those in seen. It adds to seen.
func (j *judge) followRemoved(log logReader, source partition, e *emission, now passing, seen map[*emission]bool) (worst doubt) {
	for r := range e.removed(log, source) {
		if !now.readBefore(e) {
			return unread
		}
		if j.mayOwe(log, r) != nil {
			return lost
		}
		for _, li := range j.byTopic[r.topic] {
			c := li.readCoverage(r.partition.partition)
			for i := range c.emitted {
				next := &c.emitted[i]
				if seen[next] || next.Lo >= r.Hi || r.Lo >= next.Hi {
					continue
				}
				seen[next] = true
				worst = max(worst, next.doubtOfRest(log, now), j.followRemoved(log, r.partition, next, now, seen))
			}
		}
	}
	return worst
}

// doubtOfRest returns the doubt that comes from what was not removed of an emission.
func (e *emission) doubtOfRest(log logReader, now passing) doubt {
	switch {
	case e.passed(log), e.unknown && now.all && now.readBefore(e):
		return noDoubt
	case !e.unknown && now.all && now.readBefore(e):
		return lost
	}
	return unread
}

// read reports whether nothing of an emission can keep its stories from settling any more: all was read, but for what was removed
// before, which no listener owes.
func (j *judge) read(log logReader, source partition, e *emission, now passing) bool {
	return e.doubtOfRest(log, now) == noDoubt && j.doubtOfRemoved(log, source, e, now) == noDoubt
}

// reachOf returns the emission that marks tell of; ok is false if they say that there was none. through are their positions, or
// nil if one of them names no topic.
func reachOf(m *obligation.Marks, through []reach) (e emission, ok bool) {
	of := m.Emitted
	if of == nil {
		of, e.unknown = m.Done, true
	} else if e.through = through; len(through) < len(m.Through) {
		e.unknown, e.through = true, nil
	}
	for i, r := range of {
		if i == 0 {
			e.Range = r
		}
		e.Lo, e.Hi = min(e.Lo, r.Lo), max(e.Hi, r.Hi)
	}
	return e, e.Lo < e.Hi
}

// addEmission keeps an emission of a coverage, for events of source, until it was read.
func (j *judge) addEmission(log logReader, source partition, c *coverage, e emission) {
	// Who owes what was removed is not asked: the subscriptions may not have been read yet.
	read := func(e emission) bool { return e.passed(log) && !e.mayBeRemoved(log, source) }
	if read(e) {
		return
	}
	e.tick = j.tick
	c.emitted = append(c.emitted, e)
	if len(c.emitted) > maxEmissions {
		c.emitted = slices.DeleteFunc(c.emitted, read)
	}
	if len(c.emitted) > maxEmissions {
		i := 0
		if c.emitted[0].mayBeRemoved(log, source) && !c.emitted[1].mayBeRemoved(log, source) {
			i = 1 // what was not removed is not to wait for what was
		}
		c.emitted[i+1].join(log, c.emitted[i])
		c.emitted = slices.Delete(c.emitted, i, i+1)
	}
	j.reaching[c] = source
}

// join makes e the emission of both. Of a partition it names two offsets if the last of one was removed unread, and that of the other was not.
func (e *emission) join(log logReader, o emission) {
	e.Lo, e.Hi = min(e.Lo, o.Lo), max(e.Hi, o.Hi)
	e.unknown = e.unknown || o.unknown
	e.tick = max(e.tick, o.tick)
	e.through = slices.Clone(e.through)
	for _, at := range o.through {
		if i := slices.IndexFunc(e.through, func(have reach) bool {
			removed := log.missed(at.partition).Hi
			return have.partition == at.partition && (have.offset <= removed) == (at.offset <= removed)
		}); i < 0 {
			e.through = append(e.through, at)
		} else {
			e.through[i].join(at)
		}
	}
}

// forgetRead forgets the emissions of all listeners that were read. The rows of the index file keep them: an emission in a row that was read
// is no harm.
func (j *judge) forgetRead(log logReader, now passing) {
	for c, source := range j.reaching {
		c.emitted = slices.DeleteFunc(c.emitted, func(e emission) bool { return j.read(log, source, &e, now) })
		if len(c.emitted) == 0 {
			delete(j.reaching, c)
		}
	}
}

// doubt is why it is not certain that a story has no further event.
type doubt uint8

const (
	noDoubt  doubt = iota
	unread         // something was emitted for one of its events that was not read yet
	untraced       // nothing says how far it reaches: only having read all of the log does
	lost           // something was emitted that never will be read, and that a reaction may owe
)

// doubtOf returns the doubt about a story that is a candidate.
func (j *judge) doubtOf(store storyReader, n storyNum) doubt {
	s := store.standing(n)
	switch {
	case s.open > 0:
		return noDoubt // it is reopened, whatever follows
	case !s.traced():
		return untraced
	case len(j.reaching) == 0:
		return noDoubt
	}
	worst := noDoubt
	whole := j.emissionsOf(store, n, func(_ *listener, _ partition, e *emission) bool {
		if e.unknown {
			worst = untraced
		} else {
			worst = max(worst, unread)
		}
		return worst < untraced
	})
	if !whole {
		return untraced
	}
	return worst
}

// emissionsOf calls yield with the emissions, not read when they were last looked at, that handlers may have made for the events
// of a story, and with the partition of these, until yield returns false. It reports whether it has looked at all records of the story, or
// yield has returned false.
func (j *judge) emissionsOf(store storyReader, n storyNum, yield func(*listener, partition, *emission) bool) (whole bool) {
	left := maxTraced
	store.eventsOf(n, func(at location) bool {
		if left--; left < 0 {
			return false
		}
		for _, li := range j.byTopic[at.topic] {
			c := li.covers[at.partition.partition]
			if c == nil {
				continue
			}
			for i := range c.emitted {
				if e := &c.emitted[i]; e.Contains(at.offset) && !yield(li, at.partition, e) {
					return false
				}
			}
		}
		return true
	})
	return left >= 0
}

// addCopy keeps the emissions for an event also as those for a copy of it, if the event was not read: the copy may be all that the index ever
// reads.
func (j *judge) addCopy(log logReader, source partition, c *coverage, copied obligation.Copy) {
	if copied.Of >= log.missed(source).Hi && copied.Of < log.position(source) {
		return
	}
	for _, e := range slices.Clone(c.emitted) {
		if e.Contains(copied.Of) && !e.Contains(copied.Offset) {
			e.Range = offsets.Range{Lo: copied.Offset, Hi: copied.Offset + 1}
			j.addEmission(log, source, c, e)
		}
	}
}

// doubtOfAll returns the doubt about a story that is a candidate once all of the log was read: lost if handlers have emitted something for its
// events that was not read, although its place is known, or that may have been removed before it was read and handled, or if that may be so of
// the event which the story began with.
func (j *judge) doubtOfAll(store storyReader, n storyNum, now passing) (worst doubt) {
	switch s := store.standing(n); {
	case s.open > 0:
		return noDoubt
	case j.owesRoot(store, s) != nil:
		return lost
	case len(j.reaching) == 0:
		return noDoubt
	}
	j.emissionsOf(store, n, func(_ *listener, source partition, e *emission) bool {
		worst = max(worst, e.doubtOfRest(store, now), j.doubtOfRemoved(store, source, e, now))
		return worst < lost
	})
	return worst
}

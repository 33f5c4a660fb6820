package story

import (
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
	through []location // the offset after the last of it, for each partition in which some of it lies
	unknown bool       // it is not recorded how far it reaches; through is empty
	tick    uint64     // judge.tick when the marks were read; 0 if that was before the index file was opened
}

// maxEmissions is how many emissions are kept of a listener in one partition. The two oldest become one if there are more.
const maxEmissions = 32

// maxTraced is of how many records of a story it is looked up whether what they led to was read. A larger one waits for all of the
// log.
const maxTraced = 1024

// read reports whether everything below the offset of a location was read.
func (e *emission) read(position func(partition) int64) bool {
	return !e.unknown && !slices.ContainsFunc(e.through, func(at location) bool { return position(at.partition) < at.offset })
}

// reachOf returns the emission that marks tell of; ok is false if they say that there was none. through are their positions, or
// nil if one of them names no topic.
func reachOf(m *obligation.Marks, through []location) (e emission, ok bool) {
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

// addEmission keeps an emission of a coverage until it was read.
func (j *judge) addEmission(c *coverage, e emission, position func(partition) int64) {
	if e.read(position) {
		return
	}
	e.tick = j.tick
	c.emitted = append(c.emitted, e)
	if len(c.emitted) > maxEmissions {
		c.forgetRead(position)
	}
	if len(c.emitted) > maxEmissions {
		c.emitted[1].join(c.emitted[0])
		c.emitted = slices.Delete(c.emitted, 0, 1)
	}
	j.reaching[c] = struct{}{}
}

// join makes e the emission of both.
func (e *emission) join(o emission) {
	e.Lo, e.Hi = min(e.Lo, o.Lo), max(e.Hi, o.Hi)
	e.unknown = e.unknown || o.unknown
	e.tick = max(e.tick, o.tick)
	e.through = slices.Clone(e.through)
	for _, at := range o.through {
		if i := slices.IndexFunc(e.through, func(have location) bool { return have.partition == at.partition }); i < 0 {
			e.through = append(e.through, at)
		} else {
			e.through[i].offset = max(e.through[i].offset, at.offset)
		}
	}
}

// forgetRead forgets the emissions that were read.
func (c *coverage) forgetRead(position func(partition) int64) {
	c.emitted = slices.DeleteFunc(c.emitted, func(e emission) bool { return e.read(position) })
}

// forgetRead forgets the emissions of all listeners that were read, and, with everything, those of which it is not recorded how
// far they reach and whose marks were read before a tick. The rows of the index file keep them: an emission in a row that was read
// is no harm.
func (j *judge) forgetRead(position func(partition) int64, everything bool, before uint64) {
	for c := range j.reaching {
		c.forgetRead(position)
		if everything {
			c.emitted = slices.DeleteFunc(c.emitted, func(e emission) bool { return e.unknown && e.tick < before })
		}
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
	whole := j.emissionsOf(store, n, func(_ *listener, e *emission) bool {
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
// of a story, until yield returns false. It reports whether it has looked at all records of the story, or yield has returned false.
func (j *judge) emissionsOf(store storyReader, n storyNum, yield func(*listener, *emission) bool) (whole bool) {
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
				if e := &c.emitted[i]; e.Contains(at.offset) && !yield(li, e) {
					return false
				}
			}
		}
		return true
	})
	return left >= 0
}

// missesEvents reports whether handlers have emitted something for the events of story n that was not read, although its place is
// known. Once all of the log was read, it never will be: its topic was deleted.
func (j *judge) missesEvents(store storyReader, n storyNum) (misses bool) {
	if store.standing(n).open > 0 || len(j.reaching) == 0 {
		return false
	}
	j.emissionsOf(store, n, func(_ *listener, e *emission) bool {
		misses = !e.read(store.position) && !e.unknown
		return !misses
	})
	return misses
}

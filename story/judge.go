package story

import (
	"maps"
	"slices"

	"tidings.dev/internal/obligation"
)

// Numbers that the index gives out, so that rows are small.
type (
	topicNum uint32 // a topic; one that was deleted and made again has a new number
	nameNum  uint32 // an event type, a source, a reaction
	storyNum uint64 // a correlation
)

// partition is a partition of a topic, place a record in it.
type partition struct {
	topic     topicNum
	partition int32
}
type place struct {
	partition
	offset int64
}

// copyKind tells whether an event's record is the only one. A handler that was run twice emits the same ids twice:
// copies of one event. Whoever has handled one copy has handled the event.
type copyKind uint8

const (
	onlyCopy  copyKind = iota
	firstCopy          // there are later ones
	laterCopy
)

// fact is what the judge needs to know of an event's record.
type fact struct {
	story storyNum
	typ   nameNum
	copy  copyKind
}

// ledger holds events and stories for the judge.
type ledger interface {
	// scan gives the records of p in [lo, hi), in order of offset. The ledger must not change meanwhile.
	scan(p partition, lo, hi int64, yield func(offset int64, f fact) bool)
	// copies gives the offsets of all records of the event that has one at this place, ascending.
	copies(at place) []int64
	// standing gives the state of a story, to be changed in place.
	standing(n storyNum) *standing
}

// standing is where a story stands.
type standing struct {
	events  int  // copies counted once
	open    int  // obligations that hold the story up: pairs of event and reaction
	telling bool // it has an event of ours, so its settling is told to the log
	// What tidings.story says of it.
	episode int  // of the last fact; 0: none
	settled bool // the last fact is story.settled
	fresh   bool // and it covers all events that there are
}

// due tells whether tidings.story says something else than the standing.
func (s *standing) due() bool {
	switch {
	case !s.telling || s.events == 0:
		return false
	case s.open == 0:
		return !s.settled || !s.fresh
	default:
		return s.settled
	}
}

// judge decides which stories have settled. It is pure: it hears of records in whatever order partitions are read, and
// keeps for each story the number of open obligations.
//
// A story without open obligations has not therefore settled: what its handlers emitted may lie unread in another
// partition. Handlers' emissions are acknowledged before the mark is appended, so the judge is sure when it (1) freezes
// the candidates by the marks known, (2) has then all high watermarks read, of topics new to it as well, (3) hears of
// everything below those, and (4) finds a candidate unchanged, and nothing done for it meanwhile. Otherwise it is a candidate
// anew.
type judge struct {
	listeners map[string]*listener // by obligation.SubscriptionKey
	byTopic   map[topicNum][]*listener

	pending map[storyNum]struct{} // changed, and due
	frozen  map[storyNum]struct{} // candidates that wait for the index to pass the barrier
	telling map[storyNum]struct{} // a fact about them is on its way to tidings.story
}

func newJudge() *judge {
	return &judge{
		listeners: make(map[string]*listener),
		byTopic:   make(map[topicNum][]*listener),
		pending:   make(map[storyNum]struct{}),
		frozen:    make(map[storyNum]struct{}),
		telling:   make(map[storyNum]struct{}),
	}
}

// changed is to be called after every change of a story: a candidate is one no more, unless it is due again.
func (j *judge) changed(n storyNum, s *standing) {
	delete(j.frozen, n)
	if s.due() {
		j.pending[n] = struct{}{}
	} else {
		delete(j.pending, n)
	}
}

// thaw makes a frozen story wait for the next barrier: something was done for it, or undone, whose emissions the
// present one may not cover. That matters when nothing was known to be owed, too: the subscription may yet be unread.
func (j *judge) thaw(n storyNum) {
	if _, ok := j.frozen[n]; ok {
		delete(j.frozen, n)
		j.pending[n] = struct{}{}
	}
}

// event hears of a record that the ledger has just taken in.
func (j *judge) event(l ledger, at place, f fact) {
	s := l.standing(f.story)
	if f.copy == laterCopy {
		copies := l.copies(at)
		first, before := copies[0], slices.DeleteFunc(slices.Clone(copies), func(o int64) bool { return o == at.offset })
		for _, li := range j.byTopic[at.topic] {
			if li.holds(at.partition.partition, first, f.typ) {
				c := li.cover(at.partition.partition)
				if c.any(copies) && !c.any(before) {
					s.open--
				}
			}
		}
	} else {
		s.events++
		for _, li := range j.byTopic[at.topic] {
			if li.holds(at.partition.partition, at.offset, f.typ) && !li.cover(at.partition.partition).done.contains(at.offset) {
				s.open++
			}
		}
	}
	s.fresh = false
	j.changed(f.story, s)
}

// marks hears of marks. It tells whether they count: not when their writer did not know of a seek.
func (j *judge) marks(l ledger, li *listener, m *obligation.Marks) bool {
	c := li.cover(m.Partition)
	if m.Epoch < c.epoch {
		return false
	}
	c.epoch, c.dirty = m.Epoch, true
	c.position = max(c.position, m.Position)
	for _, r := range m.Done {
		j.cover(l, li, m.Partition, r.Lo, r.Hi)
	}
	return true
}

// cover makes [lo, hi) done: what was owed there is owed no more.
func (j *judge) cover(l ledger, li *listener, p int32, lo, hi int64) {
	c := li.cover(p)
	at := partition{li.topic, p}
	var gaps spans // adding changes the set that the gaps are read from
	for gapLo, gapHi := range c.done.gaps(lo, hi) {
		gaps = append(gaps, obligation.Range{Lo: gapLo, Hi: gapHi})
	}
	for _, r := range gaps {
		l.scan(at, r.Lo, r.Hi, func(offset int64, f fact) bool {
			j.thaw(f.story)
			first := offset
			if f.copy != onlyCopy {
				copies := l.copies(place{at, offset})
				first = copies[0]
				// Offsets are covered one after the other: those below this one are done already.
				if slices.ContainsFunc(copies, func(o int64) bool { return c.done.contains(o) || r.Lo <= o && o < offset }) {
					return true
				}
			}
			if li.holds(p, first, f.typ) {
				j.owe(l, f.story, -1)
			}
			return true
		})
		c.done.add(r.Lo, r.Hi)
	}
	c.dirty = true
}

// seek hears of a position moved by hand. It tells whether it is news.
func (j *judge) seek(l ledger, li *listener, s *obligation.Seek) bool {
	c := li.cover(s.Partition)
	if s.Epoch <= c.epoch {
		return false
	}
	c.epoch, c.position, c.dirty = s.Epoch, s.To, true
	at := partition{li.topic, s.Partition}
	gone := c.done.cut(s.To)
	for _, r := range gone {
		l.scan(at, r.Lo, r.Hi, func(offset int64, f fact) bool {
			j.thaw(f.story)
			first := offset
			if f.copy != onlyCopy {
				copies := l.copies(place{at, offset})
				first = copies[0]
				// Offsets are taken away one after the other: those above this one are still covered.
				if slices.ContainsFunc(copies, func(o int64) bool { return c.done.contains(o) || o > offset && gone.contains(o) }) {
					return true
				}
			}
			if li.holds(s.Partition, first, f.typ) {
				j.owe(l, f.story, +1)
			}
			return true
		})
	}
	c.sought = slices.DeleteFunc(c.sought, func(g gap) bool { return g.Lo >= s.To })
	for i := range c.sought {
		c.sought[i].Hi = min(c.sought[i].Hi, s.To)
	}
	for lo, hi := range c.done.gaps(s.From, s.To) {
		c.sought = append(c.sought, gap{obligation.Range{Lo: lo, Hi: hi}, s.Who, s.At})
	}
	j.cover(l, li, s.Partition, s.From, s.To)
	return true
}

// subscribe hears of a subscription. ends has where the ledger's knowledge of each partition of the topic ends; types
// are the numbers of sub.Types.
func (j *judge) subscribe(l ledger, li *listener, sub *obligation.Subscription, types []nameNum, ends map[int32]int64) {
	before := *li
	li.set(sub, types)
	if before.same(li) {
		return
	}
	for p, end := range ends {
		// What is done is owed neither before nor after.
		from := min(before.since(p), li.since(p))
		c := li.cover(p)
		for lo, hi := range c.done.gaps(from, end) {
			l.scan(partition{li.topic, p}, lo, hi, func(offset int64, f fact) bool {
				if f.copy == laterCopy {
					return true
				}
				was, is := before.holds(p, offset, f.typ), li.holds(p, offset, f.typ)
				if was == is || f.copy == firstCopy && c.any(l.copies(place{partition{li.topic, p}, offset})) {
					return true
				}
				if is {
					j.owe(l, f.story, +1)
				} else {
					j.owe(l, f.story, -1)
				}
				return true
			})
		}
	}
}

// owe changes what a story owes by n.
func (j *judge) owe(l ledger, story storyNum, n int) {
	s := l.standing(story)
	s.open += n
	j.changed(story, s)
}

// told hears of a fact on tidings.story. whole tells whether it covers all events of the story.
func (j *judge) told(l ledger, n storyNum, episode int, settled, whole bool) {
	s := l.standing(n)
	if episode < s.episode {
		return
	}
	s.episode, s.settled, s.fresh = episode, settled, settled && whole
	delete(j.telling, n)
	j.changed(n, s)
}

// untold gives up on a fact that could not be appended: the story is judged anew.
func (j *judge) untold(l ledger, n storyNum) {
	delete(j.telling, n)
	j.changed(n, l.standing(n))
}

// freeze makes the pending stories candidates, and tells whether there are any. The caller reads all high watermarks
// after that, and calls verdicts when it has told the judge of everything below them. Candidates that are still
// frozen stay so: they may as well be judged by later watermarks.
func (j *judge) freeze() bool {
	for n := range j.pending {
		if _, ok := j.telling[n]; !ok {
			j.frozen[n] = struct{}{}
			delete(j.pending, n)
		}
	}
	return len(j.frozen) > 0
}

// verdicts gives the candidates about which tidings.story has something to be told, in order.
func (j *judge) verdicts() []storyNum {
	sure := slices.Sorted(maps.Keys(j.frozen))
	for _, n := range sure {
		j.telling[n] = struct{}{}
	}
	clear(j.frozen)
	return sure
}

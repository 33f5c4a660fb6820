package story

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tidings.dev/internal/display"
)

// answer assembles one Story from the stories that a key leads to.
type answer struct {
	*readTx
	obligations *obligations
	scanned     int // records that were scanned for open obligations, at most maxScanned
}

// candidate is a story that a key leads to, with its open obligations.
type candidate struct {
	Ref
	open []*Obligation // open obligations, the worst first; empty if Standing is not open or maxScanned was reached
}

// copiesOnly reports whether all that the index has of the story are copies of events of other stories. It is never said to settle: the
// others are.
func (c *candidate) copiesOnly() bool { return c.Standing == StandingQuiet && c.Events+c.gone == 0 }

func newAnswer(tx *readTx, live Live) *answer {
	return &answer{readTx: tx, obligations: newObligations(tx, live)}
}

// lostEmission returns a sentence, without its full stop, about an event of a story that was emitted, and not read before its topic
// was deleted or it was removed from the log; empty if there is none.
func (tx *readTx) lostEmission(n storyNum) (what string) {
	tx.ix.judge.emissionsOf(&fileReader{ix: tx.ix, tx: tx.bolt}, n, func(li *listener, source partition, e *emission) bool {
		for _, l := range tx.lostOf(source, e) {
			what = fmt.Sprintf("what %s has emitted to topic %s ", display.Clean(li.reaction), display.Clean(l.Topic))
			switch {
			case l.OwedBy != "":
				what += fmt.Sprintf("may have been removed before it was read, and %s may not have handled it", display.Clean(l.OwedBy))
			case l.Uncertain:
				what += "may have been lost, for that was deleted before it was read"
			default:
				what += "was lost, for that was deleted before it was read"
			}
		}
		return what == ""
	})
	return what
}

// lostRoot returns a sentence, without its full stop, about the event that a story began with, if it may have been removed from the log before
// it was read and handled; empty if not.
func (tx *readTx) lostRoot(n storyNum) string {
	log := &fileReader{ix: tx.ix, tx: tx.bolt}
	li := tx.ix.judge.owesRoot(log, log.standing(n))
	if li == nil {
		return ""
	}
	return fmt.Sprintf("the event that it began with may have been removed before it was read, and %s may not have handled it", display.Clean(li.reaction))
}

// lostOf returns the topics that an emission, for events of source, reaches into beyond what was read of them, and that are deleted, and those
// from which something of it may have been removed before it was read and handled.
func (tx *readTx) lostOf(source partition, e *emission) (lost []LostEmission) {
	add := func(l LostEmission) {
		if !slices.Contains(lost, l) {
			lost = append(lost, l)
		}
	}
	for _, at := range e.through {
		if t := tx.ix.topicOf[at.topic]; t.lost() && tx.ix.positions[at.partition] < at.offset {
			add(LostEmission{Topic: t.name, Uncertain: e.Hi-e.Lo > 1})
		}
	}
	log := &fileReader{ix: tx.ix, tx: tx.bolt}
	for r := range e.removed(log, source) {
		if li := tx.ix.judge.mayOwe(log, r); li != nil {
			add(LostEmission{Topic: tx.ix.topicOf[r.topic].name, Uncertain: true, OwedBy: li.reaction})
		}
	}
	return lost
}

// addLost sets LostEmissions of the obligations of an event.
func (tx *readTx) addLost(e *locatedEvent) {
	for _, li := range tx.ix.judge.byTopic[e.at.topic] {
		i := slices.IndexFunc(e.Obligations, func(o Obligation) bool { return o.Reaction == li.reaction && o.Certainty == Recorded })
		if i < 0 {
			continue
		}
		for _, emitted := range li.readCoverage(e.Partition).emitted {
			if !slices.ContainsFunc(e.offsets(), emitted.Contains) {
				continue
			}
			for _, l := range tx.lostOf(e.at.partition, &emitted) {
				if o := &e.Obligations[i]; !slices.Contains(o.LostEmissions, l) {
					o.LostEmissions = append(o.LostEmissions, l)
				}
			}
		}
	}
}

// story returns the Story of a key with at most limit of the stories in f, which must have at least one. 0 means
// pageStories, and a negative limit means all.
func (a *answer) story(key string, f found, limit int) *Story {
	s := &Story{Query: key, AsOf: a.obligations.asOf.UTC(), Standing: StandingSettled}
	candidates, open := a.candidates(f.refs)
	for _, c := range candidates {
		s.Events += c.Events
		s.GoneEvents += c.gone
		if !c.copiesOnly() || len(candidates) == 1 {
			s.Standing = worse(s.Standing, c.Standing)
		}
		if c.Standing == StandingOpen {
			s.OpenStories++
		}
	}
	page := candidates
	if limit == 0 {
		limit = pageStories
	}
	if limit > 0 && len(page) > limit {
		page = page[:limit]
	}
	s.LeftStories = len(candidates) - len(page)

	var shown, unsettled []*locatedEvent
	for _, c := range page {
		s.Correlations = append(s.Correlations, c.Correlation)
		collapsed := len(candidates) > 1 && c.Standing == StandingSettled
		if collapsed {
			s.Settled = append(s.Settled, c.Ref)
			if len(shown)+c.Events > maxEvents {
				continue
			}
		}
		events, left := a.eventsOf(c.Ref, maxEvents-len(shown))
		shown = append(shown, events...)
		if c.Standing != StandingSettled {
			unsettled = append(unsettled, events...)
		}
		s.LeftEvents += left
	}
	for _, e := range shown {
		a.obligations.addTo(e)
	}
	a.obligations.countBehind()
	for _, e := range unsettled {
		a.addLost(e)
	}
	s.Roots = causalTree(shown)
	s.bound(candidates)
	w := wording{Story: s, about: about(s, f), stories: len(candidates), open: open}
	w.unheard = len(open) == 0 && !a.anyoneListens(shown, candidates)
	for _, c := range candidates {
		if c.Standing == StandingQuiet && !c.copiesOnly() {
			w.quiet++
			if lost := cmp.Or(a.lostEmission(c.num), a.lostRoot(c.num)); lost != "" {
				w.lost = cmp.Or(w.lost, lost)
				s.IncompleteStories++
			}
		}
	}
	s.Sentence = w.sentence()
	return s
}

// candidates returns the stories of refs, and all their open obligations, the worst first, with Behind set. The
// stories with the worst obligations come first, then the newest. refs must be sorted, the newest first.
func (a *answer) candidates(refs []Ref) (candidates []candidate, open []Obligation) {
	var owed []*Obligation
	for _, ref := range refs { // newest first
		c := candidate{Ref: ref}
		if ref.Standing == StandingOpen && a.scanned < maxScanned {
			events, _ := a.eventsOf(ref, maxScanned-a.scanned)
			a.scanned += len(events)
			for _, e := range events {
				c.open = append(c.open, a.obligations.owed(e)...)
			}
			slices.SortStableFunc(c.open, compareOpen)
			owed = append(owed, c.open...)
		}
		candidates = append(candidates, c)
	}
	a.obligations.countBehind()
	slices.SortStableFunc(candidates, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(x.urgency(), y.urgency()), compareFirst(x.open, y.open))
	})
	slices.SortStableFunc(owed, compareOpen)
	for _, o := range owed {
		open = append(open, *o)
	}
	return candidates, open
}

// urgency returns the rank of a candidate: 0 if an open obligation was found, 1 if the index has it as open, 2
// otherwise. Lower ranks come first.
func (c candidate) urgency() int {
	switch {
	case len(c.open) > 0:
		return 0
	case c.Standing == StandingOpen:
		return 1
	}
	return 2
}

// compareFirst compares the worst obligations of two stories. It returns 0 if either has none.
func compareFirst(x, y []*Obligation) int {
	if len(x) == 0 || len(y) == 0 {
		return 0
	}
	return compareOpen(x[0], y[0])
}

// compareOpen orders open obligations, the worst first: by state, and within a state by Since, the earliest first.
func compareOpen(x, y *Obligation) int {
	states := []State{Lost, Retrying, UnknownState, Running, Waiting}
	return cmp.Or(cmp.Compare(slices.Index(states, x.State), slices.Index(states, y.State)), x.Since.Compare(y.Since))
}

// anyoneListens reports whether an event of the stories has an obligation to a reaction or consumer group. shown are
// the events whose Obligations are set.
func (a *answer) anyoneListens(shown []*locatedEvent, candidates []candidate) bool {
	listened := func(e *locatedEvent) bool { return e.Obligations[0].State != NobodyListening }
	if slices.ContainsFunc(shown, listened) {
		return true
	}
	for _, c := range candidates {
		if a.scanned >= maxScanned {
			return true // not known; true keeps the sentence from claiming that nobody listens
		}
		events, _ := a.eventsOf(c.Ref, maxScanned-a.scanned)
		a.scanned += len(events)
		for _, e := range events {
			if a.obligations.addTo(e); listened(e) {
				return true
			}
		}
	}
	return false
}

// bound sets First and Last from the events that are shown, and, if some are not or are forgotten, from the rows of all candidates.
func (s *Story) bound(candidates []candidate) {
	extend := func(t time.Time) {
		s.Last = later(s.Last, t)
		if !t.IsZero() && (s.First.IsZero() || t.Before(s.First)) {
			s.First = t
		}
	}
	for e := range s.All {
		extend(e.Time)
		for _, o := range e.Obligations {
			s.Last = later(s.Last, o.At)
		}
	}
	if len(candidates) > 1 || s.LeftEvents > 0 || s.GoneEvents > 0 {
		for _, c := range candidates {
			extend(c.First)
			extend(c.Last)
		}
	}
}

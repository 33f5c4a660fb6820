package reactor

import (
	"maps"
	"slices"
)

// An event of a type that this instance has no handler for is passed over. But a newer version of the reaction may
// have a handler and be running at the same time: while both instances are in the group, either may get the event. So
// the event is withheld, neither handled nor done, until the newest subscriptions have been looked at, beginning after
// the event's arrival. If they do not have its type, the event counts as unhandled. If they do, the instance stands
// down: it leaves the group to the instances that have a handler, and joins again when it has a handler for every type
// that the reaction is subscribed to.
//
// Until the look is over, later events of the same subject wait as well: another instance may have to handle the
// withheld event first.

// withheld has the events of a partition that wait for one look at the subscriptions.
type withheld struct {
	types    map[string]bool  // types of the events
	subjects map[string]int64 // subjects of the events, each with the lowest offset
	behind   []*item          // later events of these subjects, in order of arrival
}

func newWithheld() *withheld {
	return &withheld{types: make(map[string]bool), subjects: make(map[string]int64)}
}

func (w *withheld) empty() bool { return len(w.types) == 0 }

func (w *withheld) add(typ, subject string, offset int64) {
	w.types[typ] = true
	if _, ok := w.subjects[subject]; !ok && subject != "" {
		w.subjects[subject] = offset
	}
}

// holdsUp reports whether an event of the item's subject with a lower offset is withheld.
func (w *withheld) holdsUp(it *item) bool {
	first, ok := w.subjects[it.event.Subject]
	return ok && first < it.event.Offset
}

// take empties w and returns what it had.
func (w *withheld) take() *withheld {
	taken := *w
	*w = *newWithheld()
	return &taken
}

// addBefore adds what earlier has. It must have arrived before everything that w has.
func (w *withheld) addBefore(earlier *withheld) {
	maps.Copy(w.types, earlier.types)
	maps.Copy(w.subjects, earlier.subjects)
	w.behind = append(earlier.behind, w.behind...)
}

// withhold takes in a record whose event has no handler.
func (s *scheduler) withhold(p *partition, r *record) {
	p.tracker.withhold(r.Offset)
	p.withheld.add(r.Type, r.Subject, r.Offset)
}

// admit appends an item to its lane, unless an earlier event of its subject is withheld: then the item waits for that
// event.
func (s *scheduler) admit(it *item) {
	p := it.partition
	switch {
	case p.withheld.holdsUp(it):
		p.withheld.behind = append(p.withheld.behind, it)
	case p.passing.holdsUp(it):
		p.passing.behind = append(p.passing.behind, it)
	default:
		s.enqueue(it)
		return
	}
	p.urgent = true // the next round looks at the subscriptions
}

// onPassBegun makes what is withheld pass with the look at the subscriptions that begins now, and emits a checkTypes
// if there is something.
func (s *scheduler) onPassBegun() {
	if s.stoodDown {
		return
	}
	due := false
	for _, p := range s.partitions {
		if !p.withheld.empty() {
			due = true
			p.tracker.beginRelease()
			withheld := p.withheld.take()
			withheld.addBefore(p.passing.take())
			p.passing = withheld
		}
	}
	if due {
		s.emit(checkTypes{})
	}
}

// onPassEnded passes over the events of partitions whose types no subscription has, and emits a standDown for each
// topic that has an event of a type which a subscription has.
func (s *scheduler) onPassEnded(ev passEnded) {
	missing := make(map[string][]string) // types by topic
	for _, p := range s.partitions {
		if p.passing.empty() {
			continue
		}
		if ev.named == nil { // the look is to be repeated, for what has arrived since as well
			p.withheld.addBefore(p.passing.take())
			s.armFlush()
			continue
		}
		passable := true
		for typ := range p.passing.types {
			if ev.named(p.topic, typ) {
				passable = false
				missing[p.topic] = append(missing[p.topic], typ)
			}
		}
		if passable {
			s.passOver(p)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(missing)) {
		s.stoodDown = true
		slices.Sort(missing[topic])
		s.emit(standDown{topic, slices.Compact(missing[topic])})
	}
	s.saveMemory()
}

// passOver makes the offsets of the passing events of p done, and admits the items that have waited for them.
func (s *scheduler) passOver(p *partition) {
	for _, r := range p.tracker.endRelease() {
		p.summary.unhandled.Add(r.Lo, r.Hi)
		s.counts.unhandled += r.Hi - r.Lo
	}
	p.urgent = true
	for _, it := range p.passing.take().behind {
		s.admit(it)
	}
}

// withdrawWithheld drops the items that wait for withheld events of p.
func (s *scheduler) withdrawWithheld(p *partition) {
	for _, w := range []*withheld{p.withheld, p.passing} {
		for _, it := range w.behind {
			s.release(it)
			it.state = itemGone
		}
		w.behind = nil
	}
}

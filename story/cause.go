package story

import "tidings.dev/internal/cloudevent"

// causes finds the event that another event names as its cause. An event names its cause by id alone, and several
// events of a story may share an id if their sources or types differ.
type causes struct {
	byID  map[string][]*locatedEvent // by event id, in the order of time
	named map[string]int             // number of events that name an id as their cause
}

// newCauses returns the causes of the events of one story. all must have all events of the story, in the order of
// time.
func newCauses(all []*locatedEvent) causes {
	c := causes{byID: make(map[string][]*locatedEvent, len(all)), named: make(map[string]int)}
	for _, e := range all {
		c.byID[e.ID] = append(c.byID[e.ID], e)
		c.named[e.Causation]++
	}
	return c
}

// of returns the event that caused e, or nil if it is not among the events. If several events have the id that e
// names, of returns the one from which the id of e was derived. If e has an id that its emitter chose, of returns the
// last of them that is not later than e.
func (c causes) of(e *locatedEvent) *Event {
	candidates := c.byID[e.Causation]
	if len(candidates) == 0 {
		return nil
	}
	if len(candidates) == 1 {
		return candidates[0].Event
	}
	for _, candidate := range candidates {
		if c.derived(e, candidate) {
			return candidate.Event
		}
	}
	best := candidates[0]
	for _, candidate := range candidates[1:] {
		if !candidate.Time.After(e.Time) && candidate != e {
			best = candidate
		}
	}
	return best.Event
}

// derived reports whether e has the id that its reaction derives for an emission while it handles cause.
func (c causes) derived(e, cause *locatedEvent) bool {
	named := cloudevent.Event{Source: cause.Source, Type: cause.Type, ID: cause.ID, Derivation: cloudevent.DerivedFromIdentity}
	handling := named.Cause(e.Reaction)
	for n := range c.named[e.Causation] {
		if handling.EmissionID(e.Type, e.Subject, n) == e.ID {
			return true
		}
	}
	return false
}

package obligation

import (
	"maps"
	"slices"
	"time"
)

// Supersedes reports whether s replaces have, the record with the same key that has counted so far; have may be nil.
// If it does not, and both have the same revision, Merge of the two counts. If s has a lower revision, s does not
// count.
//
// Records without a revision were written by earlier versions of the framework. Of these the last one counts.
func (s *Subscription) Supersedes(have *Subscription) bool {
	return have == nil || s.Revision > have.Revision || s.Revision == 0 && have.Revision == 0
}

// Merge returns the subscription that counts after two records with the same key and revision, whose writers did not
// know of each other. first was read before second. The result is a copy of first, with first's offsets and revision,
// except in these cases:
//
//   - If first is retired and second is not, it is a copy of second.
//   - If neither is retired, it has the types of the record with the higher version or, if the versions are equal, the
//     types of both. Joining and TypeSince of a type that first lacks are those of second.
//
// If first is not retired and the two have different apps, the result is a copy of first in any case: the reaction's
// name belongs to the app that came first. The result shares no memory with first and second.
func Merge(first, second *Subscription) *Subscription {
	m := first.Clone()
	if first.App != "" && second.App != "" && first.App != second.App && !first.Retired {
		return m
	}
	m.Retired = first.Retired && second.Retired
	switch c := second.Version.Compare(first.Version); {
	case first.Retired && !second.Retired:
		m = second.Clone()
	case second.Retired:
	case c > 0:
		m.Version = second.Version
		m.setTypes(second.Types, second)
	case c == 0:
		types := slices.Concat(first.Types, second.Types)
		slices.Sort(types)
		m.setTypes(slices.Compact(types), second)
	}
	return m
}

// setTypes sets s.Types to types. Joining and TypeSince of types that s did not have are copied from other, and those
// of types that are not in types are removed. Types that were owed and are not in types become Ended.
func (s *Subscription) setTypes(types []string, other *Subscription) {
	had := s.Types
	s.Types = slices.Clone(types)
	for _, t := range types {
		if slices.Contains(had, t) {
			continue
		}
		if slices.Contains(other.Joining, t) {
			s.Joining = append(s.Joining, t)
		} else if since, ok := other.TypeSince[t]; ok {
			if s.TypeSince == nil {
				s.TypeSince = make(map[string]map[int32]int64)
			}
			s.TypeSince[t] = maps.Clone(since)
		}
	}
	for _, t := range had {
		if !slices.Contains(types, t) && !slices.Contains(s.Joining, t) {
			s.end(t, other.Ended[t])
		}
	}
	s.Joining = slices.DeleteFunc(s.Joining, func(t string) bool { return !slices.Contains(types, t) })
	maps.DeleteFunc(s.TypeSince, func(t string, _ map[int32]int64) bool { return !slices.Contains(types, t) })
}

// end adds a type to Ended, with its TypeSince, and with what recorded has, the entry of another record. If the type has ended before,
// the two times become one, with what was between them.
func (s *Subscription) end(typ string, recorded Ended) {
	e := Ended{Since: s.TypeSince[typ], Until: maps.Clone(recorded.Until), At: recorded.At}
	if e.Since == nil {
		e.Since = s.Since
	}
	if before, ok := s.Ended[typ]; ok {
		e.Since = before.Since
	}
	e.Since = maps.Clone(e.Since)
	if s.Ended == nil {
		s.Ended = make(map[string]Ended)
	}
	s.Ended[typ] = e
}

// Ending reports whether Until of a type in Ended is not known.
func (s *Subscription) Ending() bool {
	for _, e := range s.Ended {
		if e.Until == nil {
			return true
		}
	}
	return false
}

// SetEnded sets Until to ends, the ends of the topic's partitions at the time at, of the types in Ended of which it is not known.
func (s *Subscription) SetEnded(ends map[int32]int64, at time.Time) {
	for t, e := range s.Ended {
		if e.Until == nil {
			e.Until, e.At = maps.Clone(ends), at
			s.Ended[t] = e
		}
	}
}

// Clone returns a copy that shares no memory with s.
func (s *Subscription) Clone() *Subscription {
	c := *s
	c.Types, c.Joining = slices.Clone(s.Types), slices.Clone(s.Joining)
	c.Start, c.Since = maps.Clone(s.Start), maps.Clone(s.Since)
	c.TypeSince = maps.Clone(s.TypeSince)
	for t, since := range c.TypeSince {
		c.TypeSince[t] = maps.Clone(since)
	}
	c.Ended = maps.Clone(s.Ended)
	for t, e := range c.Ended {
		c.Ended[t] = Ended{maps.Clone(e.Since), maps.Clone(e.Until), e.At}
	}
	return &c
}

// On returns the subscription that s means for the topic that now has the name. If the topic was deleted and made
// again since s was written, all of its records were appended after the reaction had joined: the result begins at the
// start of the topic, and all of its events are owed. The result has the given id and shares no memory with s.
func (s *Subscription) On(topic TopicID) *Subscription {
	on := s.Clone()
	if !s.TopicID.Is(topic) {
		on.Start, on.Since, on.TypeSince, on.Joining, on.Ended = nil, nil, nil, nil, nil
	}
	on.TopicID = topic
	return on
}

// Equal reports whether s and o are the same but for their revision.
func (s *Subscription) Equal(o *Subscription) bool {
	return s.Reaction == o.Reaction && s.Topic == o.Topic && s.App == o.App && s.TopicID == o.TopicID && s.Version == o.Version && s.Retired == o.Retired &&
		s.At.Equal(o.At) && slices.Equal(s.Types, o.Types) && slices.Equal(s.Joining, o.Joining) &&
		maps.Equal(s.Start, o.Start) && maps.Equal(s.Since, o.Since) &&
		maps.EqualFunc(s.TypeSince, o.TypeSince, maps.Equal[map[int32]int64]) && maps.EqualFunc(s.Ended, o.Ended, Ended.equal)
}

func (e Ended) equal(o Ended) bool {
	return maps.Equal(e.Since, o.Since) && maps.Equal(e.Until, o.Until) && (e.Until == nil) == (o.Until == nil) && e.At.Equal(o.At)
}

// WithTypes returns a copy of s as changed by a program of the given version that handles types, which must be sorted.
// If version is higher than that of s, types replace those of s; if it is equal, types are added; if it is lower,
// nothing changes. Types that s did not have become Joining, and types that it had become Ended.
func (s *Subscription) WithTypes(version Version, types []string) *Subscription {
	next := s.Clone()
	switch c := version.Compare(s.Version); {
	case c > 0:
		next.Version = version
	case c == 0:
		types = slices.Concat(s.Types, types)
		slices.Sort(types)
		types = slices.Compact(types)
	default:
		return next
	}
	next.setTypes(types, &Subscription{Joining: types})
	slices.Sort(next.Joining)
	return next
}

// WithoutTypes returns a copy of s without the given types, which become Ended. If no type would be left, the copy is retired and keeps
// its types, because a subscription with empty Types would be one to every type.
func (s *Subscription) WithoutTypes(types ...string) *Subscription {
	next := s.Clone()
	next.setTypes(slices.DeleteFunc(slices.Clone(s.Types), func(t string) bool { return slices.Contains(types, t) }), new(Subscription))
	next.Retired = len(next.Types) == 0
	if next.Retired {
		next = s.Clone()
		next.Retired = true
	}
	return next
}

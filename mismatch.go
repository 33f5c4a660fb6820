package tidings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/jsonfields"
	"tidings.dev/internal/obligation"
)

// When one program renames a field, other programs read the field as zero, and nothing fails. So each reaction
// compares the fields of its events with those of the Go type that they are decoded into, and reports differences in
// its log, its statistics and the stories.

const (
	// compareFirst is the number of events of one sender that are all compared; after them, one of every compareEvery
	// is.
	compareFirst = 1000
	compareEvery = 64
	// maxSenders is the number of senders of which a reaction keeps what was found. Events of further senders are
	// compared only if their fact is strict.
	maxSenders = 1000
)

// FieldMismatch says how the fields of events from one source differ from those of the Go type that a reaction decodes
// them into. The first 1,000 events of each type, version and source are compared, and then one of every 64.
type FieldMismatch struct {
	Type    string `json:"type"`
	Version int    `json:"version"` // schema version of the events; 0 if they carry none
	Source  string `json:"source"`

	Compared int64 `json:"compared"` // number of comparisons made; an event that is decoded again counts again

	// Unknown counts the compared events that have a field which the type lacks, by the name of the field. Missing
	// counts those that lack a field which the type has, so that the field is read as zero. A field that its tag lets
	// an encoder leave out (omitempty, omitzero) is never missing. Names of nested fields are joined by dots, as in
	// "lines.sku". Of a list, the first element is compared.
	Unknown map[string]int64 `json:"unknown,omitempty"`
	Missing map[string]int64 `json:"missing,omitempty"`
}

// mismatchError is the error of an event of a strict fact whose fields differ from those of the type.
type mismatchError struct{ jsonfields.Difference }

func (e *mismatchError) Error() string {
	return "its fields are not those of the fact, which is defined as strict: " + describeDifference(e.Difference)
}

// describeDifference returns d as a clause for log lines and errors, such as "it has a, which nobody reads here; it
// lacks b, which would be read as zero".
func describeDifference(d jsonfields.Difference) string {
	var parts []string
	if len(d.Unknown) > 0 {
		parts = append(parts, "it has "+strings.Join(d.Unknown, ", ")+", which nobody reads here")
	}
	if len(d.Missing) > 0 {
		parts = append(parts, "it lacks "+strings.Join(d.Missing, ", ")+", which would be read as zero")
	}
	return strings.Join(parts, "; ")
}

// mismatches has the differences that a reaction has found between its events and the types that they are decoded
// into. Its methods are safe for concurrent use; some may be called on a nil *mismatches, where documented.
type mismatches struct {
	reaction *reaction

	mu   sync.RWMutex // protects from, but not the *sent in it
	from map[sender]*sent

	last atomic.Pointer[sent] // the one of the last event: mostly that of the next one, too
}

// sender identifies the events that are compared and counted together: those of one type, schema version and source.
type sender struct {
	typ     string
	version int
	source  string
}

// sent has what was found in the events of one sender.
type sent struct {
	by     sender
	events atomic.Int64 // number of events that were decoded

	mu       sync.Mutex // protects the fields below
	compared int64
	differed int64 // comparisons that found a difference
	// taken and takenDiffered are compared and differed as they were when take was called last.
	taken, takenDiffered int64
	topic                string    // of the event that was compared last
	at                   time.Time // when a field was last found for the first time
	// unknown and missing count the events that have, or lack, each field. Each has at most maxCounted names.
	unknown, missing map[string]int64
}

// check compares a decoded event with the shape of its type and returns the difference. It returns an empty
// Difference, without comparing, if shape is nil, or if the event is not among those to be compared (see compareFirst)
// and always is false. It counts and reports what it finds. A nil m compares only if always is true, and counts
// nothing.
func (m *mismatches) check(e *Any, shape *jsonfields.Shape, always bool) jsonfields.Difference {
	if shape == nil {
		return jsonfields.Difference{}
	}
	if m == nil {
		if !always {
			return jsonfields.Difference{}
		}
		return shape.Compare(e.Payload)
	}
	s := m.sent(sender{e.Type, e.Version, e.Source})
	if s == nil {
		if !always {
			return jsonfields.Difference{}
		}
		return shape.Compare(e.Payload)
	}
	if n := s.events.Add(1); !always && n > compareFirst && n%compareEvery != 0 {
		return jsonfields.Difference{}
	}
	d := shape.Compare(e.Payload)
	if s.add(e.Topic, d) {
		m.say(e, d)
	}
	return d
}

// sent returns the entry of a sender, which it adds if there is none. It returns nil if there are maxSenders others
// already.
func (m *mismatches) sent(from sender) *sent {
	if s := m.last.Load(); s != nil && s.by == from {
		return s
	}
	m.mu.RLock()
	s := m.from[from]
	m.mu.RUnlock()
	if s != nil {
		m.last.Store(s)
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s = m.from[from]; s == nil && len(m.from) < maxSenders {
		from.source = strings.Clone(from.source) // it may share the memory of a whole batch
		from.typ = strings.Clone(from.typ)
		s = &sent{by: from, unknown: make(map[string]int64), missing: make(map[string]int64)}
		m.from[from] = s
	}
	return s
}

// add counts a comparison and its difference. It reports whether the difference has a field that is new.
func (s *sent) add(topic string, d jsonfields.Difference) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compared++
	s.topic = topic
	if !d.None() {
		s.differed++
	}
	before := len(s.unknown) + len(s.missing)
	count(s.unknown, d.Unknown)
	count(s.missing, d.Missing)
	if len(s.unknown)+len(s.missing) == before {
		return false
	}
	s.at = time.Now().UTC()
	return true
}

// maxCounted is the number of different field names that are counted in each of Unknown and Missing. Without a limit
// there could be very many: in a JSON object that is a map, the names are data.
const maxCounted = 64

// count adds 1 to the count of each name. Names that have no count yet are ignored once there are maxCounted.
func count(counts map[string]int64, names []string) {
	for _, name := range names {
		if _, ok := counts[name]; ok || len(counts) < maxCounted {
			counts[name]++
		}
	}
}

// say logs the difference that was found in e, and has what was found of e's sender recorded.
func (m *mismatches) say(e *Any, d jsonfields.Difference) {
	r := m.reaction
	r.log.Warn(fmt.Sprintf("events of %s, version %d, from %s have other fields than the type that they are decoded into: %s; has a field been renamed? Define the fact once, in a package that both import, or give the new form another Version",
		e.Type, e.Version, e.Source, describeDifference(d)),
		"type", e.Type, "version", e.Version, "source", e.Source, "event", e.ID, "unknown", d.Unknown, "missing", d.Missing)
	r.app.findings.soon()
}

// take returns the records of the senders whose events differ and of which events were compared since it was called last. Their counts
// are of the comparisons since then.
func (m *mismatches) take() (changed []*obligation.Mismatch) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for from, s := range m.from {
		s.mu.Lock()
		if len(s.unknown)+len(s.missing) > 0 && s.differed > s.takenDiffered && cloudevent.ValidName(from.source) {
			changed = append(changed, &obligation.Mismatch{
				Reaction: m.reaction.name, Type: from.typ, Topic: s.topic, Version: from.version, Source: from.source,
				Unknown: slices.Sorted(maps.Keys(s.unknown)), Missing: slices.Sorted(maps.Keys(s.missing)), At: s.at,
				Compared: s.compared - s.taken, Differed: s.differed - s.takenDiffered,
			})
			s.taken, s.takenDiffered = s.compared, s.differed
		}
		s.mu.Unlock()
	}
	return changed
}

// stats returns what was found of each sender whose events differ, ordered by type, version and source.
func (m *mismatches) stats() (all []FieldMismatch) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for from, s := range m.from {
		s.mu.Lock()
		if len(s.unknown)+len(s.missing) > 0 {
			all = append(all, FieldMismatch{
				Type: from.typ, Version: from.version, Source: from.source, Compared: s.compared,
				Unknown: maps.Clone(s.unknown), Missing: maps.Clone(s.missing),
			})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b FieldMismatch) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		if a.Version != b.Version {
			return a.Version - b.Version
		}
		return strings.Compare(a.Source, b.Source)
	})
	return all
}

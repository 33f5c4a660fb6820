package client

import (
	"maps"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/cli/shell"
)

// splitFact is a fact that is emitted or handled on several topics, which is probably a mistake: a reaction on one
// topic does not get what is emitted on another.
type splitFact struct {
	Type   string      `json:"type"`
	Places []factPlace `json:"topics"` // sorted by topic
}

// factPlace is one of the topics of a splitFact, with the apps that emit the fact there and the reactions that handle
// it there, sorted by name.
type factPlace struct {
	Topic     string   `json:"topic"`
	EmittedBy []string `json:"emitted_by"`
	HandledBy []string `json:"handled_by"`
}

// splitOf returns the facts that are emitted or handled on the given topic and also on another existing topic, sorted
// by type. A reaction that handles all types of a topic is not counted, as it names no type.
func (l *ledger) splitOf(topic string, now time.Time) []splitFact {
	types := make(map[string]map[string]*factPlace) // by type, then by topic
	place := func(typ, topic string) *factPlace {
		if types[typ] == nil {
			types[typ] = make(map[string]*factPlace)
		}
		if types[typ][topic] == nil {
			types[typ][topic] = &factPlace{Topic: topic, EmittedBy: []string{}, HandledBy: []string{}}
		}
		return types[typ][topic]
	}
	for _, e := range l.emits {
		if l.has(e.Topic) && e.Holds(now) {
			p := place(e.Type, e.Topic)
			p.EmittedBy = append(p.EmittedBy, e.App)
		}
	}
	for _, s := range l.subs {
		if s.Now.Retired || !l.has(s.Now.Topic) {
			continue
		}
		for _, typ := range s.Now.Types {
			p := place(typ, s.Now.Topic)
			p.HandledBy = append(p.HandledBy, s.Now.Reaction)
		}
	}
	found := []splitFact{}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		places := types[typ]
		if len(places) < 2 || places[topic] == nil {
			continue
		}
		f := splitFact{Type: typ}
		for _, name := range slices.Sorted(maps.Keys(places)) {
			slices.Sort(places[name].EmittedBy)
			slices.Sort(places[name].HandledBy)
			f.Places = append(f.Places, *places[name])
		}
		found = append(found, f)
	}
	return found
}

// has reports whether a topic exists.
func (l *ledger) has(topic string) bool {
	_, ok := l.ids[topic]
	return ok
}

// text describes the fact in one line: "x.y is emitted to orders by app a, emitted to other by app b and handled on
// other by reaction c: …".
func (f splitFact) text() string {
	var uses []string
	for _, p := range f.Places {
		if len(p.EmittedBy) > 0 {
			uses = append(uses, "emitted to "+shell.Clean(p.Topic)+" by "+named("app", p.EmittedBy))
		}
		if len(p.HandledBy) > 0 {
			uses = append(uses, "handled on "+shell.Clean(p.Topic)+" by "+named("reaction", p.HandledBy))
		}
	}
	last := len(uses) - 1
	return shell.Clean(f.Type) + " is " + strings.Join(uses[:last], ", ") + " and " + uses[last] + ": nobody sees on one topic what is emitted on another"
}

// named returns a noun and names: "app a", "apps a, b".
func named(what string, names []string) string {
	clean := make([]string, len(names))
	for i, name := range names {
		clean[i] = shell.Clean(name)
	}
	if len(names) > 1 {
		what += "s"
	}
	return what + " " + strings.Join(clean, ", ")
}

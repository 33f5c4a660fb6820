package client

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"tidings.dev/internal/cli/shell"
)

// topicHandler is a reaction with a subscription to a topic.
type topicHandler struct {
	Reaction string   `json:"reaction"`
	App      string   `json:"app,omitempty"`
	Types    []string `json:"types"` // empty: all types
	Needs    string   `json:"needs_version,omitempty"`
}

// topicEmitter is an app that has emitted events on a topic.
type topicEmitter struct {
	App   string   `json:"app"`
	Types []string `json:"types"`
}

// handlersOf returns the reactions with a subscription to a topic that is not retired, sorted by name.
func (l *ledger) handlersOf(topic string) []topicHandler {
	found := []topicHandler{}
	for _, s := range l.subs {
		if s.Now.Topic != topic || s.Now.Retired {
			continue
		}
		h := topicHandler{Reaction: s.Now.Reaction, App: s.Now.App, Types: append([]string{}, s.Now.Types...)}
		if !s.Now.Version.IsZero() {
			h.Needs = s.Now.Version.String()
		}
		found = append(found, h)
	}
	slices.SortFunc(found, func(a, b topicHandler) int { return strings.Compare(a.Reaction, b.Reaction) })
	return found
}

// emittersOf returns the apps that have emitted events on a topic, sorted by name. Programs that do not use the
// framework are not recorded.
func (l *ledger) emittersOf(topic string) []topicEmitter {
	types := make(map[string][]string)
	for _, e := range l.emits {
		if e.Topic == topic {
			types[e.App] = append(types[e.App], e.Type)
		}
	}
	found := []topicEmitter{}
	for _, app := range slices.Sorted(maps.Keys(types)) {
		slices.Sort(types[app])
		found = append(found, topicEmitter{app, types[app]})
	}
	return found
}

// writeUsers prints the apps that emit on the topic and the reactions that handle its events.
func (d topicDetail) writeUsers(w io.Writer) {
	for _, e := range d.EmittedBy {
		fmt.Fprintf(w, "emitted by %s: %s\n", shell.Clean(e.App), typesText(e.Types))
	}
	for _, h := range d.HandledBy {
		fmt.Fprintf(w, "handled by %s: %s\n", shell.Clean(h.Reaction), typesText(h.Types))
	}
}

package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// topicMismatch is a mismatch between a reaction and the events of one type, version and source on a topic.
type topicMismatch struct {
	Reaction string `json:"reaction"`
	Type     string `json:"type"`
	Source   string `json:"source"`
	story.FieldMismatch
}

// mismatchOf converts a recorded mismatch to the type that package story uses.
func mismatchOf(m *obligation.Mismatch) story.FieldMismatch {
	return story.FieldMismatch{Version: m.Version, Unknown: m.Unknown, Missing: m.Missing, At: m.At}
}

// mismatchesOf returns the mismatches that reactions have recorded for a topic, sorted by reaction, type, version and
// source. It leaves out reactions whose subscription to the topic is retired.
func (l *ledger) mismatchesOf(topic string) []topicMismatch {
	found := []topicMismatch{}
	for _, m := range l.fields {
		if m.Topic != topic {
			continue
		}
		if s := l.subs[obligation.SubscriptionKey(m.Reaction, topic)]; s != nil && s.Now.Retired {
			continue
		}
		found = append(found, topicMismatch{m.Reaction, m.Type, m.Source, mismatchOf(m)})
	}
	slices.SortFunc(found, func(a, b topicMismatch) int {
		return cmp.Or(cmp.Compare(a.Reaction, b.Reaction), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Source, b.Source))
	})
	return found
}

// text describes the mismatch in one line.
func (m *topicMismatch) text() string {
	return fmt.Sprintf("mismatch of %s with %s from %s: %s", shell.Clean(m.Reaction), shell.Clean(m.Type), shell.Clean(m.Source), m.FieldMismatch.String())
}

// reader identifies the events of one type and source that a reaction reads.
type reader struct{ reaction, typ, source string }

// readMismatches returns all recorded mismatches, by reader.
func (c connection) readMismatches(ctx context.Context) (map[reader][]*obligation.Mismatch, error) {
	found := make(map[reader][]*obligation.Mismatch)
	topics, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil || !topics.Has(obligation.SubscriptionsTopic) {
		return nil, err
	}
	last := make(map[string]*obligation.Mismatch) // by Mismatch.Key
	for r, err := range c.log.ReadAll(ctx, obligation.SubscriptionsTopic, 0) {
		if err != nil {
			return nil, err
		}
		delete(last, string(r.Key))           // a tombstone leaves nothing
		fact, _ := obligation.Decode(r.Value) // other records are from a later version or foreign
		if m, ok := fact.(*obligation.Mismatch); ok {
			last[m.Key()] = m
		}
	}
	for _, m := range last {
		k := reader{m.Reaction, m.Type, m.Source}
		found[k] = append(found[k], m)
	}
	return found, nil
}

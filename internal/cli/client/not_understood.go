package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

// topicNotUnderstood is the records of a topic that claim to be CloudEvents and that a reaction could not read as such, so that it has
// passed over them.
type topicNotUnderstood struct {
	Topic string              `json:"topic"`
	Count int64               `json:"count"`
	First notUnderstoodRecord `json:"first"` // the one that was read first
	Last  notUnderstoodRecord `json:"last"`
}

// notUnderstoodRecord is one of these records.
type notUnderstoodRecord struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at,omitzero"` // when the reaction read it
}

// notUnderstoodOf returns what a reaction has recorded, by topic.
func (l *ledger) notUnderstoodOf(reaction string) []topicNotUnderstood {
	found := []topicNotUnderstood{}
	for _, n := range l.unread {
		if n.Reaction != reaction || !n.TopicID.Is(l.ids[n.Topic]) {
			continue
		}
		record := func(r obligation.NotUnderstoodRecord) notUnderstoodRecord {
			return notUnderstoodRecord{n.Partition, r.Offset, r.Reason, r.At}
		}
		first, last := record(n.First), record(n.Last)
		i := slices.IndexFunc(found, func(t topicNotUnderstood) bool { return t.Topic == n.Topic })
		if i < 0 {
			found = append(found, topicNotUnderstood{n.Topic, n.Count, first, last})
			continue
		}
		t := &found[i]
		t.Count += n.Count
		if first.At.Before(t.First.At) {
			t.First = first
		}
		if last.At.After(t.Last.At) {
			t.Last = last
		}
	}
	slices.SortFunc(found, func(a, b topicNotUnderstood) int { return strings.Compare(a.Topic, b.Topic) })
	return found
}

// text returns the line of a topic.
func (t *topicNotUnderstood) text() string {
	text := fmt.Sprintf("not understood on %s: %s that claim to be CloudEvents, passed over; first %s", shell.Clean(t.Topic), shell.Plural(int(t.Count), "record"), t.First.text(t.Topic))
	if t.Count > 1 {
		text += "; last " + t.Last.text(t.Topic)
	}
	return text
}

func (r *notUnderstoodRecord) text(topic string) string {
	return fmt.Sprintf("%s/%d@%d at %s: %s", shell.Clean(topic), r.Partition, r.Offset, r.At.Format(time.RFC3339), shell.Clean(r.Reason))
}

// reactionMismatch is a mismatch as `group show` has it, with counts.
type reactionMismatch struct {
	Topic string `json:"topic"`
	topicMismatch
	Compared int64 `json:"compared"` // events that were compared; 0 if that was not recorded
	Differed int64 `json:"differed"` // those of them that had, or lacked, a field
}

// text returns the line of the mismatch.
func (m *reactionMismatch) text() string {
	text := fmt.Sprintf("mismatch on %s with %s from %s: %s", shell.Clean(m.Topic), shell.Clean(m.Type), shell.Clean(m.Source), m.FieldMismatch.String())
	if m.Compared > 0 {
		text += fmt.Sprintf(", %d of %s", m.Differed, shell.Plural(int(m.Compared), "compared event"))
	}
	return text
}

// mismatchesOfReaction returns the mismatches of a reaction on topics that it is subscribed to, by topic, type, version and source.
func (l *ledger) mismatchesOfReaction(reaction string) []reactionMismatch {
	found := []reactionMismatch{}
	for _, s := range l.subscriptionsOf(reaction) {
		for _, m := range l.mismatchesOf(s.Topic) {
			if m.Reaction != reaction {
				continue
			}
			key := (&obligation.Mismatch{Reaction: reaction, Type: m.Type, Version: m.Version, Source: m.Source}).Key()
			found = append(found, reactionMismatch{s.Topic, m, l.fields[key].Compared, l.fields[key].Differed})
		}
	}
	return found
}

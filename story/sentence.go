package story

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/display"
)

// wording has everything that Story.Sentence is made from.
type wording struct {
	*Story         // the Story, whose Sentence is not set yet
	about   string // the subject or key that the sentence begins with
	stories int    // number of stories that the key leads to
	quiet   int    // number of them that are quiet: nothing is owed, but no story.settled is recorded
	lost    string // what lostEmission or lostRoot says of a quiet one; empty if they say nothing
	// open has all open obligations of the stories, the worst first.
	open    []Obligation
	unheard bool // no reaction or consumer group listens for any of the events
}

// sentence returns one line that says whether the stories are open, quiet or settled, and how much of them is gone.
func (w *wording) sentence() string {
	text := w.standing()
	if w.GoneEvents > 0 {
		text = fmt.Sprintf("%s; %s fell to retention.", strings.TrimSuffix(text, "."), countOf(w.GoneEvents, "earlier event"))
	}
	return text
}

// standing returns the sentence without what is gone.
func (w *wording) standing() string {
	about, events := display.Clean(w.about), countOf(w.Events, "event")
	if w.stories > 1 {
		return about + ": " + w.ofSeveral(events) + "."
	}
	total, handled := 0, 0
	for e := range w.All {
		total++
		for _, o := range e.Obligations {
			if !o.Late && (o.State == Handled || o.State == SkippedEvent) {
				handled++
			}
		}
	}
	switch {
	case w.Events == 0 && len(w.copyOf()) > 0:
		return fmt.Sprintf("%s: nothing but copies of events that count in story %s.", about, joinWords(w.copyOf()))
	case w.Standing == StandingOpen && len(w.open) > 0:
		return about + ": " + describeOpen(w.open, w.Story) + "."
	case w.Standing == StandingOpen:
		return fmt.Sprintf("%s: something is still owed, beyond the %s shown.", about, countOf(total, "event"))
	case w.unheard && w.lost == "":
		return fmt.Sprintf("%s: %s, and nobody listening.", about, events)
	case w.Standing == StandingSettled:
		return fmt.Sprintf("%s: settled %s after it began; %s, %s%s.", about, formatDuration(w.settled().Sub(w.First)), events,
			countOf(handled, "reaction"), w.joined())
	case w.lost != "":
		return fmt.Sprintf("%s: %s; %s, %s%s.", about, w.lost, events, countOf(handled, "reaction"), w.joined())
	default:
		return fmt.Sprintf("%s: nothing is owed as far as is known, not recorded as settled; %s, %s%s.", about, events,
			countOf(handled, "reaction"), w.joined())
	}
}

// copyOf returns the correlations of the other stories that events of this one count in, without repetition.
func (w *wording) copyOf() (correlations []string) {
	for e := range w.All {
		if of := display.Clean(e.CopyOf); of != "" && !slices.Contains(correlations, of) {
			correlations = append(correlations, of)
		}
	}
	slices.Sort(correlations)
	return correlations
}

// ofSeveral returns the sentence for several stories without the subject or key at its beginning. events is the count
// of events with its noun.
func (w *wording) ofSeveral(events string) string {
	stories := countOf(w.stories, "story")
	openOf := fmt.Sprintf("%s of %s open", groupThousands(int64(w.OpenStories)), stories)
	switch {
	case w.Standing == StandingOpen && len(w.open) > 0:
		return openOf + ": " + describeOpen(w.open, w.Story)
	case w.Standing == StandingOpen:
		return openOf
	case w.unheard && w.lost == "":
		return events + ", and nobody listening"
	case w.quiet == 0:
		return fmt.Sprintf("all %s have settled; %s", stories, events)
	case w.lost != "":
		return fmt.Sprintf("%s of %s not recorded as settled: %s; %s", groupThousands(int64(w.quiet)), stories, w.lost, events)
	default:
		return fmt.Sprintf("nothing is owed as far as is known; %s of %s not recorded as settled; %s", groupThousands(int64(w.quiet)), stories, events)
	}
}

// inTime yields the events of the story except those that were emitted by a reaction that joined later, and their
// descendants. Such events do not change when the original story settled.
func (w *wording) inTime(yield func(*Event) bool) {
	var walk func([]*Event) bool
	walk = func(events []*Event) bool {
		for _, e := range events {
			if !yield(e) {
				return false
			}
			children := slices.DeleteFunc(slices.Clone(e.Children), func(c *Event) bool {
				return slices.ContainsFunc(e.Obligations, func(o Obligation) bool { return o.Late && o.Reaction == c.Reaction })
			})
			if !walk(children) {
				return false
			}
		}
		return true
	}
	walk(w.Roots)
}

// settled returns when a settled story settled: the time of its last event or handling, without those of reactions
// that joined later.
func (w *wording) settled() time.Time {
	last := w.First
	for e := range w.inTime {
		last = later(last, e.Time)
		for _, o := range e.Obligations {
			if !o.Late && o.Certainty != Inferred {
				last = later(last, o.At)
			}
		}
	}
	return last
}

// joined returns the end of a sentence that names the reactions that joined later and handled an event, such as ";
// fraud joined 3 days later and has handled it". It returns "" if there is none.
func (w *wording) joined() string {
	at := make(map[string]time.Time)
	for e := range w.All {
		for _, o := range e.Obligations {
			if o.Late {
				at[o.Reaction] = later(at[o.Reaction], o.Joined)
			}
		}
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(at)) {
		when := "later"
		if at[name].After(w.First) {
			when = formatDuration(at[name].Sub(w.First)) + " later"
		}
		words = append(words, display.Clean(name)+" joined "+when)
	}
	switch len(words) {
	case 0:
		return ""
	case 1:
		return "; " + words[0] + " and has handled it"
	default:
		return "; " + joinWords(words) + ", and have handled it"
	}
}

// about returns the subject or key that the sentence about a story begins with. If the key led to exactly one
// subject, about returns that subject. If the key is part of several subjects, it returns the key and their number.
// Otherwise it returns the subject of an event that is equal to the key, or, if the key led to a single story, the
// subject of the first event that has one; failing these, the key.
func about(s *Story, f found) string {
	if len(f.subjects) == 1 {
		return f.subjects[0]
	}
	if n := len(f.subjects); n > 1 {
		return fmt.Sprintf("%s (%s)", s.Query, countOf(n, "subject"))
	}
	for e := range s.All {
		if e.Subject == s.Query || e.Subject != "" && len(f.refs) == 1 {
			return e.Subject
		}
	}
	return s.Query
}

// stuckSince returns since when a reaction has been retrying an event: since the first failure, or, if that was not
// recorded, since the last one.
func stuckSince(o Obligation) time.Time {
	if !o.Since.IsZero() {
		return o.Since
	}
	return o.At
}

// describeOpen returns text that describes the worst of the open obligations of a story and counts the others. open
// must have at least one, and the worst first.
func describeOpen(open []Obligation, s *Story) string {
	worst := open[0]
	name := display.Clean(worst.Reaction)
	var text string
	rest := open[1:]
	switch worst.State {
	case Lost:
		text = fmt.Sprintf("lost for %s, which had not handled it when its topic was deleted", name)
		if worst.LostTo > 0 {
			text = fmt.Sprintf("lost for %s, which had not handled it when offsets %d–%d fell to retention", name, worst.LostFrom, worst.LostTo-1)
		}
	case Retrying:
		text = fmt.Sprintf("stuck %s in %s, %s failed", formatDuration(s.AsOf.Sub(stuckSince(worst))), name, countOf(worst.Attempts, "attempt"))
		if worst.Next.After(s.AsOf) {
			text += fmt.Sprintf(", next in %s", formatDuration(worst.Next.Sub(s.AsOf)))
		}
		if worst.Error != "" {
			text += ": " + display.Clean(worst.Error)
		}
	case Running:
		text = fmt.Sprintf("running in %s for %s", name, formatDuration(s.AsOf.Sub(worst.Since)))
		if worst.Attempts > 0 {
			text += fmt.Sprintf(", after %s failed", countOf(worst.Attempts, "attempt"))
		}
	case UnknownState:
		text = fmt.Sprintf("unknown in %s, whose position moved past it without a record of why", name)
	default:
		// No obligation is worse than waiting. Name all reactions that wait, each with the highest number that it is
		// behind.
		behind := make(map[string]int64)
		var names []string
		for _, o := range open {
			if _, ok := behind[o.Reaction]; !ok {
				names = append(names, o.Reaction)
			}
			behind[o.Reaction] = max(behind[o.Reaction], o.Behind)
		}
		slices.Sort(names)
		for i, n := range names {
			names[i] = fmt.Sprintf("%s (%s behind)", display.Clean(n), groupThousands(behind[n]))
		}
		return "waiting for " + joinWords(names)
	}
	if len(rest) > 0 {
		text += fmt.Sprintf("; %d more open", len(rest))
	}
	return text
}

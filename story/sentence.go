package story

import (
	"fmt"
	"slices"
	"time"
)

// sentence says in one line where a story stands.
func sentence(s *Story) string {
	who := clean(subject(s))
	events := count(s.Events, "event")
	handled, unheard, total := 0, 0, 0
	var open []Obligation
	for e := range s.All {
		total++
		for _, o := range e.Obligations {
			switch {
			case o.State == Handled || o.State == SkippedEvent:
				handled++
			case o.State == NobodyListening:
				unheard++
			case o.Open():
				open = append(open, o)
			}
		}
	}
	switch {
	case s.Standing == StandingOpen && len(open) > 0:
		return who + ": " + owed(open, s) + "."
	case s.Standing == StandingOpen:
		return fmt.Sprintf("%s: something is still owed, beyond the %s shown.", who, count(total, "event"))
	case unheard == total:
		return fmt.Sprintf("%s: %s, and nobody listening.", who, events)
	case s.Standing == StandingSettled:
		return fmt.Sprintf("%s: settled %s after it began; %s, %s.", who, span(s.Last.Sub(s.First)), events, count(handled, "reaction"))
	default:
		return fmt.Sprintf("%s: nothing is owed as far as is known, not recorded as settled; %s, %s.", who, events, count(handled, "reaction"))
	}
}

// subject gives the name of what a story is about.
func subject(s *Story) string {
	for e := range s.All {
		if e.Subject == s.Query || e.Subject != "" && len(s.Correlations) == 1 {
			return e.Subject
		}
	}
	return s.Query
}

// owed says what holds up a story, the worst first.
func owed(open []Obligation, s *Story) string {
	rank := func(o Obligation) int { return slices.Index([]State{Lost, Retrying, UnknownState, Waiting}, o.State) }
	slices.SortStableFunc(open, func(a, b Obligation) int { return rank(a) - rank(b) })
	worst := open[0]
	name := clean(worst.Reaction)
	var text string
	rest := open[1:]
	switch worst.State {
	case Lost:
		text = fmt.Sprintf("lost for %s, which had not handled it when offsets %d–%d fell to retention", name, worst.LostFrom, worst.LostTo-1)
	case Retrying:
		text = fmt.Sprintf("stuck %s in %s, %s failed", span(s.AsOf.Sub(s.Last.Truncate(time.Microsecond))), name, count(worst.Attempts, "attempt"))
		if worst.Next.After(s.AsOf) {
			text += fmt.Sprintf(", next in %s", span(worst.Next.Sub(s.AsOf)))
		}
		if worst.Error != "" {
			text += ": " + clean(worst.Error)
		}
	case UnknownState:
		text = fmt.Sprintf("unknown in %s, whose position moved past it without a record of why", name)
	default:
		// All that merely wait are named together, each by what it has before it.
		behind := make(map[string]int64)
		var names []string
		for _, o := range open {
			if _, ok := behind[o.Reaction]; !ok {
				names = append(names, o.Reaction)
			}
			behind[o.Reaction] = max(behind[o.Reaction], o.Behind)
		}
		for i, n := range names {
			names[i] = fmt.Sprintf("%s (%s behind)", clean(n), thousands(behind[n]))
		}
		return "waiting for " + list(names)
	}
	if len(rest) > 0 {
		text += fmt.Sprintf("; %d more open", len(rest))
	}
	return text
}

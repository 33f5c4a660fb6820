package story

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tidings.dev/internal/display"
)

// Format describes how [Story.Render] prints. The zero value prints plain text with lines of any length.
type Format struct {
	// Width is the maximum number of columns of a line. A longer line is cut and ends in an ellipsis. 0 means no
	// limit.
	Width int
	// Color turns on ANSI colours. The caller decides whether the writer is a terminal, and obeys NO_COLOR.
	Color bool
}

// Parameters of ANSI colour sequences. plain means no sequence.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// fragment is a part of a line that has one colour.
type fragment struct {
	text, color string
}

// Render prints the sentence and the causal tree of the story to w. Under each event it prints its obligations, one
// line per reaction, and under the line of a reaction the events that the reaction emitted. If there are several
// stories, each one that has settled gets a single line. Where a tree gets too deep for the width, it is continued
// further below. Times are relative to the first event. Control characters in text from records are replaced. Render
// returns the first error of w.
func (s *Story) Render(w io.Writer, f Format) error {
	p := printer{w: w, f: f, begin: s.First}
	p.line(fragment{s.Sentence, bold})
	collapsed := make(map[string]bool)
	for _, r := range s.Settled {
		collapsed[r.Correlation] = true
	}
	for _, root := range s.Roots {
		if collapsed[root.Correlation] {
			continue
		}
		p.line()
		p.event("", "", root, 0)
		p.continued()
	}
	for _, e := range s.Deeper {
		p.deeper = append(p.deeper, deeperEvent{event: e})
	}
	p.continued()
	p.collapsed(s.Settled)
	var left []string
	if s.LeftEvents > 0 {
		left = append(left, countOf(s.LeftEvents, "more event"))
	}
	if s.LeftStories > 0 {
		left = append(left, countOf(s.LeftStories, "more story"))
	}
	if len(left) > 0 {
		p.line()
		p.line(fragment{"not shown: " + joinWords(left), dim})
	}
	return p.err
}

// printer writes lines to w. The first error is kept in err, and nothing is written after it.
type printer struct {
	w     io.Writer
	f     Format
	begin time.Time
	// deeper has the events that are too deep in a tree to be printed below their causes. continued prints and
	// removes them.
	deeper []deeperEvent
	err    error
}

// deeperEvent is an event that is printed apart from its cause. cause is nil if the cause is not in the story.
type deeperEvent struct {
	event, cause *Event
}

// Roots are printed at level 0, their children at level 1, and so on; each level is indented by levelColumns columns
// more than the one before. Events at a level deeper than printer.deepest are printed apart from their causes, because
// the end of a long chain of events would otherwise be outside of the terminal. That level depends on the width of the
// terminal, and is at least minLevel and at most maxLevel.
const (
	maxLevel     = 12
	minLevel     = 3
	levelColumns = 6
)

// deepest returns the last level at which events are printed below their causes: the one whose indentation takes half
// of the width, at least minLevel and at most maxLevel.
func (p *printer) deepest() int {
	if p.f.Width == 0 {
		return maxLevel
	}
	return max(minLevel, min(maxLevel, p.f.Width/2/levelColumns))
}

// continued prints each event in p.deeper as a tree of its own. Trees that get too deep again add to p.deeper and are
// continued, too.
func (p *printer) continued() {
	for len(p.deeper) > 0 && p.err == nil {
		d := p.deeper[0]
		p.deeper = p.deeper[1:]
		p.line()
		cause := "event " + display.Clean(d.event.Causation)
		if d.cause != nil {
			cause = display.Clean(d.cause.Type) + "  " + place(d.cause)
		}
		if d.event.Reaction != "" {
			cause += ", emitted by " + display.Clean(d.event.Reaction)
		}
		p.line(fragment{"… continued from " + cause, dim})
		p.event("", "", d.event, 1)
	}
}

// place returns the place of an event in the log, as topic/partition@offset.
func place(e *Event) string {
	return fmt.Sprintf("%s/%d@%d", display.Clean(e.Topic), e.Partition, e.Offset)
}

// line writes one line, cut to the width.
func (p *printer) line(fragments ...fragment) {
	var b strings.Builder
	room := p.f.Width
	for _, x := range fragments {
		text := x.text
		if p.f.Width > 0 {
			if room <= 0 {
				break
			}
			whole := text
			if text = display.Cut(whole, room); text != whole {
				room = 0
			} else {
				room -= display.Width(text)
			}
		}
		if p.f.Color && x.color != plain && text != "" {
			fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", x.color, text)
		} else {
			b.WriteString(text)
		}
	}
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(b.String(), " "))
	}
}

// collapsed prints one line for each of some stories that have settled.
func (p *printer) collapsed(refs []Ref) {
	if len(refs) > 0 {
		p.line()
	}
	for _, r := range refs {
		fragments := []fragment{{"✓ ", green}, {"settled", green}, {"  " + formatTime(r.First), dim}}
		if r.Subject != "" && r.Subject != r.Word {
			fragments = append(fragments, fragment{"  " + display.Clean(r.Subject), cyan})
		}
		p.line(append(fragments, fragment{"  " + countOf(r.Events, "event"), plain}, fragment{"  " + display.Clean(r.Correlation), dim})...)
	}
}

// joined returns text that says that the reaction joined later, and when, if that was recorded.
func (p *printer) joined(o Obligation) string {
	if o.Joined.After(p.begin) {
		return "joined later, +" + formatDuration(o.Joined.Sub(p.begin))
	}
	return "joined later"
}

// formatTime returns a time in the format that is used for root events.
func formatTime(t time.Time) string { return t.Format("2006-01-02 15:04:05.000 MST") }

// event prints an event, its obligations and the events that it caused. first is the text before the line of the
// event, and rest the text before the lines under it. level is 0 for a root.
func (p *printer) event(first, rest string, e *Event, level int) {
	root := level == 0
	name := e.Type
	if name == "" {
		name = "record"
	}
	when := "+" + formatDuration(e.Time.Sub(p.begin))
	if root {
		when = formatTime(e.Time)
		if e.Time.After(p.begin) {
			when += "  +" + formatDuration(e.Time.Sub(p.begin))
		}
	}
	fragments := []fragment{{first, dim}, {display.Clean(name), bold}, {"  " + when, dim}}
	if root && e.Subject != "" {
		fragments = append(fragments, fragment{"  " + display.Clean(e.Subject), cyan})
	}
	fragments = append(fragments, fragment{"  " + place(e), dim})
	if e.Reaction != "" && (root || e.CauseMissing) {
		fragments = append(fragments, fragment{"  emitted by " + display.Clean(e.Reaction), dim})
	}
	if e.CauseMissing && e.Causation == "" {
		fragments = append(fragments, fragment{"  its cause fell to retention", yellow})
	} else if e.CauseMissing {
		fragments = append(fragments, fragment{"  its cause " + display.Clean(e.Causation) + " is not known", yellow})
	}
	if e.CopyOf != "" {
		fragments = append(fragments, fragment{"  a copy of one in story " + display.Clean(e.CopyOf), yellow})
	}
	if n := len(e.Copies); n > 0 {
		fragments = append(fragments, fragment{fmt.Sprintf("  told %d times", n+1), yellow})
	}
	p.line(fragments...)

	// The events that a reaction emitted are printed under the line of the reaction. Events whose reaction has no
	// line are printed at the end.
	under := make(map[string][]*Event)
	for _, c := range e.Children {
		under[c.Reaction] = append(under[c.Reaction], c)
	}
	width := 0
	for _, o := range e.Obligations {
		width = max(width, display.Width(display.Clean(o.Reaction)))
	}
	listed := make(map[string]bool)
	for _, o := range e.Obligations {
		listed[o.Reaction] = true
	}
	var loose []*Event
	for _, c := range e.Children {
		if !listed[c.Reaction] {
			loose = append(loose, c)
		}
	}
	for i, o := range e.Obligations {
		branch, stem := "├─ ", "│  "
		if i == len(e.Obligations)-1 && len(loose) == 0 {
			branch, stem = "└─ ", "   "
		}
		p.obligation(rest+branch, o, width)
		if o.Mismatch != nil {
			p.mismatch(rest+stem, o.Mismatch)
		}
		p.lost(rest+stem, o.LostEmissions)
		p.events(rest+stem, e, under[o.Reaction], level+1)
	}
	p.events(rest, e, loose, level+1)
}

// events prints the events of one cause below each other, with rest before each line. If level is too deep, it adds
// them to p.deeper and prints how many they are.
func (p *printer) events(rest string, cause *Event, events []*Event, level int) {
	if level > p.deepest() && len(events) > 0 {
		p.line(fragment{rest + "└─ … " + countOf(len(events), "event") + " below, continued from " + display.Clean(cause.Type) + "  " + place(cause), dim})
		for _, e := range events {
			p.deeper = append(p.deeper, deeperEvent{e, cause})
		}
		return
	}
	for i, e := range events {
		branch, stem := "├─ ", "│  "
		if i == len(events)-1 {
			branch, stem = "└─ ", "   "
		}
		p.event(rest+branch, rest+stem, e, level)
	}
}

// lost prints what a handler has emitted that is lost, one line for each topic, with rest before it.
func (p *printer) lost(rest string, lost []LostEmission) {
	for _, l := range lost {
		is := "is"
		if l.Uncertain {
			is = "may be"
		}
		text := fmt.Sprintf("what it emitted to topic %s %s lost: the topic was deleted before it was read", display.Clean(l.Topic), is)
		if l.OwedBy != "" {
			text = fmt.Sprintf("what it emitted to topic %s may be lost for %s: it may have been removed before it was read and handled", display.Clean(l.Topic), display.Clean(l.OwedBy))
		}
		p.line(fragment{rest, dim}, fragment{"✗ ", red}, fragment{text, red})
	}
}

// obligation prints an obligation in one line: a sign, the name of the reaction padded to width columns, and the
// state.
func (p *printer) obligation(first string, o Obligation, width int) {
	name := display.Pad(display.Clean(o.Reaction), width)
	sign, color, text := "", plain, ""
	at := ""
	if !o.At.IsZero() {
		at = " +" + formatDuration(o.At.Sub(p.begin))
	}
	switch o.State {
	case Handled:
		sign, color, text = "✓", green, "handled"+at
		switch {
		case o.Duplicate:
			text += ", as a copy of one handled before"
		case o.Took > 0:
			text += ", took " + formatDuration(o.Took)
		}
		if o.Late {
			text += ", " + p.joined(o)
		}
		if o.Attempts > 0 {
			text += fmt.Sprintf(", after %s failed: %s", countOf(o.Attempts, "attempt"), display.Clean(o.Error))
		}
	case Waiting:
		sign, color, text = "…", yellow, fmt.Sprintf("waiting (%s behind)", groupThousands(o.Behind))
	case Running:
		sign, color, text = "▸", yellow, "running since +"+formatDuration(o.Since.Sub(p.begin))
		if o.Attempts > 0 {
			text += fmt.Sprintf(", after %s failed", countOf(o.Attempts, "attempt"))
		}
	case Retrying:
		sign, color, text = "↻", red, fmt.Sprintf("retrying, %s failed", countOf(o.Attempts, "attempt"))
		if !o.Next.IsZero() {
			text += ", next +" + formatDuration(o.Next.Sub(p.begin))
		}
		if o.Error != "" {
			text += ": " + display.Clean(o.Error)
		}
	case SkippedEvent:
		sign, color, text = "⤼", dim, "skipped"+at
		if o.Reason != "" {
			text += ": " + display.Clean(o.Reason)
		}
	case JoinedLater:
		sign, color, text = "○", dim, p.joined(o)
	case NobodyListening:
		sign, color, text = "·", dim, "nobody listening"
	case Retired:
		sign, color, text = "○", dim, "retired"
	case Lost:
		sign, color, text = "✗", red, "lost with its topic"
		if o.LostTo > 0 {
			text = fmt.Sprintf("lost (%d–%d)", o.LostFrom, o.LostTo-1)
		}
	default:
		sign, color, text = "?", yellow, "unknown: its position moved past this without a record of why"
	}
	if o.Certainty == Inferred {
		text += ", inferred from a committed position"
	}
	if name != "" {
		name += "  "
	}
	p.line(fragment{first, dim}, fragment{sign + " ", color}, fragment{name, plain}, fragment{text, color})
}

package story

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Format says how a story is printed. The zero value is plain text of any width.
type Format struct {
	// Width cuts lines to that many columns, with an ellipsis; 0 means no limit.
	Width int
	// Color uses ANSI colours. The caller sees to terminals and NO_COLOR.
	Color bool
}

// Colours by meaning.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// piece is a stretch of a line in one colour.
type piece struct {
	text, color string
}

// Render prints the sentence and the causal tree: under each event what every reaction has made of it, and under the
// reaction what it emitted. Times are counted from the first event.
func (s *Story) Render(w io.Writer, f Format) error {
	p := printer{w: w, f: f, begin: s.First}
	p.line(piece{s.Sentence, bold})
	for _, root := range s.Roots {
		p.line()
		p.event("", "", root, true)
	}
	var left []string
	if s.LeftEvents > 0 {
		left = append(left, count(s.LeftEvents, "more event"))
	}
	if s.LeftStories > 0 {
		left = append(left, fmt.Sprintf("%s older stories of the same subject", thousands(int64(s.LeftStories))))
	}
	if len(left) > 0 {
		p.line()
		p.line(piece{"not shown: " + list(left), dim})
	}
	return p.err
}

// printer writes lines; the first error sticks.
type printer struct {
	w     io.Writer
	f     Format
	begin time.Time
	err   error
}

func (p *printer) line(pieces ...piece) {
	var b strings.Builder
	room := p.f.Width
	for _, x := range pieces {
		text := x.text
		if p.f.Width > 0 {
			if room <= 0 {
				break
			}
			if n := utf8.RuneCountInString(text); n > room {
				text = cutTo(text, room)
				room = 0
			} else {
				room -= n
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

// cutTo shortens text to so many columns, the last of them an ellipsis.
func cutTo(text string, columns int) string {
	r := []rune(text)
	return string(r[:columns-1]) + "…"
}

// event prints an event, and what came of it. first goes before its line, rest before the lines under it.
func (p *printer) event(first, rest string, e *Event, root bool) {
	name := e.Type
	if name == "" {
		name = "record"
	}
	when := "+" + span(e.Time.Sub(p.begin))
	if root {
		when = e.Time.Format("2006-01-02 15:04:05.000 MST")
		if e.Time.After(p.begin) {
			when += "  +" + span(e.Time.Sub(p.begin))
		}
	}
	pieces := []piece{{first, dim}, {clean(name), bold}, {"  " + when, dim}}
	if root && e.Subject != "" {
		pieces = append(pieces, piece{"  " + clean(e.Subject), cyan})
	}
	pieces = append(pieces, piece{fmt.Sprintf("  %s/%d@%d", clean(e.Topic), e.Partition, e.Offset), dim})
	if e.Reaction != "" && (root || e.CauseMissing) {
		pieces = append(pieces, piece{"  emitted by " + clean(e.Reaction), dim})
	}
	if e.CauseMissing {
		pieces = append(pieces, piece{"  its cause " + clean(e.Causation) + " is not known", yellow})
	}
	if n := len(e.Copies); n > 0 {
		pieces = append(pieces, piece{fmt.Sprintf("  told %d times", n+1), yellow})
	}
	p.line(pieces...)

	// What a reaction emitted stands under it; what has no such place stands at the end.
	under := make(map[string][]*Event)
	for _, c := range e.Children {
		under[c.Reaction] = append(under[c.Reaction], c)
	}
	width := 0
	for _, o := range e.Obligations {
		width = max(width, utf8.RuneCountInString(clean(o.Reaction)))
	}
	placed := make(map[string]bool)
	for _, o := range e.Obligations {
		placed[o.Reaction] = true
	}
	var loose []*Event
	for _, c := range e.Children {
		if !placed[c.Reaction] {
			loose = append(loose, c)
		}
	}
	for i, o := range e.Obligations {
		branch, stem := "├─ ", "│  "
		if i == len(e.Obligations)-1 && len(loose) == 0 {
			branch, stem = "└─ ", "   "
		}
		p.obligation(rest+branch, o, width)
		p.events(rest+stem, under[o.Reaction])
	}
	p.events(rest, loose)
}

func (p *printer) events(rest string, events []*Event) {
	for i, e := range events {
		branch, stem := "├─ ", "│  "
		if i == len(events)-1 {
			branch, stem = "└─ ", "   "
		}
		p.event(rest+branch, rest+stem, e, false)
	}
}

// obligation prints what one reaction owes to an event or gave it.
func (p *printer) obligation(first string, o Obligation, width int) {
	name := clean(o.Reaction)
	name += strings.Repeat(" ", max(0, width-utf8.RuneCountInString(name)))
	sign, color, text := "", plain, ""
	at := ""
	if !o.At.IsZero() {
		at = " +" + span(o.At.Sub(p.begin))
	}
	switch o.State {
	case Handled:
		sign, color, text = "✓", green, "handled"+at
		switch {
		case o.Duplicate:
			text += ", as a copy of one handled before"
		case o.Took > 0:
			text += ", took " + span(o.Took)
		}
		if o.Attempts > 0 {
			text += fmt.Sprintf(", after %s failed: %s", count(o.Attempts, "attempt"), clean(o.Error))
		}
	case Waiting:
		sign, color, text = "…", yellow, fmt.Sprintf("waiting (%s behind)", thousands(o.Behind))
	case Retrying:
		sign, color, text = "↻", red, fmt.Sprintf("retrying, %s failed", count(o.Attempts, "attempt"))
		if !o.Next.IsZero() {
			text += ", next +" + span(o.Next.Sub(p.begin))
		}
		if o.Error != "" {
			text += ": " + clean(o.Error)
		}
	case SkippedEvent:
		sign, color, text = "⤼", dim, "skipped"+at
		if o.Reason != "" {
			text += ": " + clean(o.Reason)
		}
	case JoinedLater:
		sign, color, text = "○", dim, "joined later"
	case NobodyListening:
		sign, color, text = "·", dim, "nobody listening"
	case Retired:
		sign, color, text = "○", dim, "retired"
	case Lost:
		sign, color, text = "✗", red, fmt.Sprintf("lost (%d–%d)", o.LostFrom, o.LostTo-1)
	default:
		sign, color, text = "?", yellow, "unknown: its position moved past this without a record of why"
	}
	if o.Certainty == Inferred {
		text += ", inferred from a committed position"
	}
	if name != "" {
		name += "  "
	}
	p.line(piece{first, dim}, piece{sign + " ", color}, piece{name, plain}, piece{text, color})
}

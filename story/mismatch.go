package story

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings.dev/internal/display"
)

// FieldMismatch lists the fields in which events of one type, version and source differ from the Go type that a
// reaction decodes them into, as when a field was renamed in only one of two programs. The reaction records it for
// such events in general, not for a single event, and the record remains after the program is corrected; At tells how
// old it is.
type FieldMismatch struct {
	Version int `json:"version"` // schema version of the events; 0 if they carry none
	// Unknown are the fields that events have and the reaction does not read. Missing are the fields that the
	// reaction reads and events lack; they stay zero. Both are sorted. Nested fields are written with the names of
	// the outer fields: "lines.sku".
	Unknown []string `json:"unknown,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// At is the last time at which a process of the reaction found a field for the first time. It is zero if that was
	// not recorded.
	At time.Time `json:"at,omitzero"`
}

// maxNamed is the maximum number of unknown and of missing fields that String names.
const maxNamed = 5

// String describes the mismatch in one line: "events of version 2 have amount_pence, which it does not read, and lack
// pence, which it reads (found 2026-11-29 09:50 UTC)". It names at most five unknown and five missing fields and
// counts the others. Control characters are replaced.
func (m *FieldMismatch) String() string {
	var parts []string
	if len(m.Unknown) > 0 {
		parts = append(parts, "have "+fieldNames(m.Unknown)+", which it does not read")
	}
	if len(m.Missing) > 0 {
		parts = append(parts, "lack "+fieldNames(m.Missing)+", which it reads")
	}
	text := "events "
	if m.Version > 0 {
		text += "of version " + strconv.Itoa(m.Version) + " "
	}
	text += strings.Join(parts, ", and ")
	if !m.At.IsZero() {
		text += " (found " + m.At.UTC().Format("2006-01-02 15:04 MST") + ")"
	}
	return text
}

// fieldNames joins names of fields as in a sentence. It names at most maxNamed and counts the others.
func fieldNames(names []string) string {
	words := slices.Clone(names[:min(len(names), maxNamed)])
	for i, name := range words {
		words[i] = display.Clean(name)
	}
	if more := len(names) - len(words); more > 0 {
		words = append(words, strconv.Itoa(more)+" more")
	}
	return joinWords(words)
}

// mismatch prints a mismatch below the line of its obligation.
func (p *printer) mismatch(stem string, m *FieldMismatch) {
	p.line(fragment{stem, dim}, fragment{"≠ ", yellow}, fragment{m.String(), plain})
}

package story

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/obligation"
)

// envelope is what the index takes from a record: the headers, and the key. It never looks into a payload.
type envelope struct {
	id, typ, source, subject, correlation, causation, reaction, trace string
	time                                                              time.Time
	foreign                                                           bool
}

// Longest names that are kept; anybody can write anything to a topic, and rows are to stay small.
const maxNameBytes = 512

// openEnvelope reads the headers of a record. A record without ce_id is foreign: its place is its identity, its key
// its subject.
func openEnvelope(r *kgo.Record) envelope {
	e := envelope{time: r.Timestamp.UTC()}
	for _, h := range r.Headers {
		switch h.Key {
		case obligation.HeaderID:
			e.id = name(h.Value)
		case obligation.HeaderType:
			e.typ = name(h.Value)
		case obligation.HeaderSource:
			e.source = name(h.Value)
		case obligation.HeaderSubject:
			e.subject = name(h.Value)
		case obligation.HeaderCorrelation:
			e.correlation = name(h.Value)
		case obligation.HeaderCausation:
			e.causation = name(h.Value)
		case obligation.HeaderReaction:
			e.reaction = name(h.Value)
		case obligation.HeaderTraceParent:
			// version-traceid-parentid-flags, W3C Trace Context 3.2
			if p := strings.Split(name(h.Value), "-"); len(p) >= 4 {
				e.trace = p[1]
			}
		case obligation.HeaderTime:
			if t, err := time.Parse(time.RFC3339Nano, string(h.Value)); err == nil {
				e.time = t.UTC()
			}
		}
	}
	if e.id == "" {
		e.foreign = true
		e.id = obligation.ForeignID(r.Topic, r.Partition, r.Offset)
	}
	if e.correlation == "" {
		e.correlation = e.id
	}
	if e.subject == "" {
		e.subject = name(r.Key)
	}
	return e
}

// name makes a short, valid string of bytes that came from outside.
func name(b []byte) string {
	if len(b) > maxNameBytes {
		b = b[:maxNameBytes]
	}
	s := string(b)
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

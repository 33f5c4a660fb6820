package obligation

import (
	"fmt"
	"unicode/utf8"

	"tidings.dev/internal/offsets"
)

const (
	// MaxMarks is the largest size, in bytes, of a record of marks, so that it fits into every topic.
	MaxMarks = 60 << 10
	// MaxText is the largest length, in bytes, of a reason or an error, in records and in memory.
	MaxText = 1 << 10
)

// CutText returns s if it has at most MaxText bytes, and otherwise its beginning with a note of its length, in MaxText
// bytes at most.
func CutText(s string) string {
	if len(s) <= MaxText {
		return s
	}
	end := fmt.Sprintf("… (cut: %d bytes)", len(s))
	cut := MaxText - len(end)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + end
}

// Split returns m as one or more records of at most limit bytes each; a record with a single entry may be larger.
// Every entry of m is in one of them. Only the last record has the position, which holds only once all of them are
// read. The records share memory with m.
//
// What was emitted must be known of what a part has done whether or not the others were read. If there are several parts, each has
// Through, and all that it has done counts as Emitted. If Through takes more than a quarter of limit, none has either.
func (m *Marks) Split(limit int) []*Marks {
	s := splitter{whole: m, limit: limit}
	through := 0
	for _, p := range m.Through {
		through += 3*rangeBytes + textBytes(p.Topic)
	}
	if m.Emitted == nil || through > limit/4 {
		s.unknown = true
	} else {
		s.through = through + rangeBytes*len(m.Emitted)
		if s.several = s.through > limit/2; s.several {
			s.through = through
		}
	}
	s.split()
	if len(s.parts) > 1 && !s.unknown && !s.several && len(m.Emitted) > 0 {
		s.parts, s.several, s.through = nil, true, through
		s.split()
	}
	return s.parts
}

// split fills the parts.
func (s *splitter) split() {
	m := s.whole
	s.next()
	for _, r := range m.Done {
		if !s.several {
			s.room(rangeBytes)
			s.part.Done = append(s.part.Done, r)
			continue
		}
		s.room(2 * rangeBytes)
		s.part.Done = append(s.part.Done, r)
		s.part.Emitted = append(s.part.Emitted, r)
	}
	for _, r := range m.Unhandled {
		s.room(rangeBytes)
		s.part.Unhandled = append(s.part.Unhandled, r)
	}
	for _, c := range m.Copies {
		s.room(rangeBytes)
		s.part.Copies = append(s.part.Copies, c)
	}
	for _, o := range m.Duplicates {
		s.room(rangeBytes)
		s.part.Duplicates = append(s.part.Duplicates, o)
	}
	for _, k := range m.Skipped {
		s.room(rangeBytes + textBytes(k.Reason))
		s.part.Skipped = append(s.part.Skipped, k)
	}
	for _, r := range m.Retried {
		s.room(2*rangeBytes + textBytes(r.Error))
		s.part.Retried = append(s.part.Retried, r)
	}
	for _, t := range m.Times {
		s.room(2 * rangeBytes)
		s.part.Times = append(s.part.Times, t)
	}
	s.part.Position = m.Position
}

// splitter fills records with the entries of whole, one record after the other.
type splitter struct {
	whole *Marks
	limit int
	parts []*Marks
	part  *Marks // the last of parts
	size  int    // upper bound of the bytes of part in JSON

	unknown bool // the parts do not say what was emitted
	several bool // all that a part has done counts as emitted
	through int  // bytes of Through, and unless several of Emitted, at most; in each part
}

// Upper bounds of the bytes in JSON: emptyBytes for the fields that every record has, without names, and rangeBytes
// for two numbers.
const (
	emptyBytes = 512
	rangeBytes = 48
)

// textBytes returns an upper bound of the bytes of s in JSON, where each byte may be escaped.
func textBytes(s string) int { return 32 + 6*len(s) }

// next begins a new record.
func (s *splitter) next() {
	m := s.whole
	s.part = &Marks{Reaction: m.Reaction, Topic: m.Topic, TopicID: m.TopicID, Partition: m.Partition, Epoch: m.Epoch, Leader: m.Leader, Started: m.Started, Finished: m.Finished}
	s.parts = append(s.parts, s.part)
	s.size = emptyBytes + textBytes(m.Reaction) + textBytes(m.Topic) + s.through
	switch {
	case s.unknown:
	case s.several:
		s.part.Emitted, s.part.Through = []offsets.Range{}, m.Through
	default:
		s.part.Emitted, s.part.Through = m.Emitted, m.Through
	}
}

// room makes sure that part has room for so many bytes, beginning a new record if necessary, and counts them.
func (s *splitter) room(bytes int) {
	if s.size+bytes > s.limit {
		s.next()
	}
	s.size += bytes
}

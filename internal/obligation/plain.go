package obligation

import (
	"bytes"
	"encoding/hex"
	"math"
	"time"

	"tidings.dev/internal/offsets"
)

// plainReader reads JSON of the very form that Encode gives to marks and settled facts, which are nearly all records: fields in
// their order, no blanks, texts of plain ASCII, short integers. It takes a tenth of the time of encoding/json. Anything else is
// left to encoding/json, so that a value means the same whichever reads it.
type plainReader struct {
	rest  []byte
	wrong bool // what was read is not in that form
}

// take reads a text that must follow.
func (r *plainReader) take(text string) {
	if !r.has(text) {
		r.wrong = true
	}
}

// has reads a text if it follows, and reports whether it does.
func (r *plainReader) has(text string) bool {
	if r.wrong || len(r.rest) < len(text) || string(r.rest[:len(text)]) != text {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

// bytes reads a string, and returns what is between its quotation marks.
func (r *plainReader) bytes() []byte {
	r.take(`"`)
	end := bytes.IndexByte(r.rest, '"')
	if r.wrong || end < 0 {
		r.wrong = true
		return nil
	}
	s := r.rest[:end]
	for _, c := range s {
		if c < ' ' || c >= 0x7f || c == '\\' {
			r.wrong = true
		}
	}
	r.rest = r.rest[end+1:]
	return s
}

func (r *plainReader) text() string { return string(r.bytes()) }

// int reads an integer of at most 18 digits.
func (r *plainReader) int() (n int64) {
	negative := r.has("-")
	i := 0
	for ; i < len(r.rest) && '0' <= r.rest[i] && r.rest[i] <= '9' && i <= 18; i++ {
		n = 10*n + int64(r.rest[i]-'0')
	}
	if i == 0 || i > 18 || i > 1 && r.rest[0] == '0' || negative && n == 0 {
		r.wrong = true
		return 0
	}
	r.rest = r.rest[i:]
	if negative {
		return -n
	}
	return n
}

// int32 is int for numbers of 32 bits.
func (r *plainReader) int32() int32 {
	n := r.int()
	r.wrong = r.wrong || n < math.MinInt32 || n > math.MaxInt32
	return int32(n)
}

func (r *plainReader) time() (t time.Time) {
	if err := t.UnmarshalText(r.bytes()); err != nil {
		r.wrong = true
	}
	return t
}

func (r *plainReader) topicID() (id TopicID) {
	b := r.bytes()
	if len(b) != 2*len(id) {
		r.wrong = true
		return id
	}
	if _, err := hex.Decode(id[:], b); err != nil {
		r.wrong = true
	}
	return id
}

// list calls read for each element of an array.
func (r *plainReader) list(read func()) {
	r.take("[")
	for !r.wrong && !r.has("]") {
		read()
		if !r.has(",") {
			r.take("]")
			return
		}
		r.wrong = r.wrong || len(r.rest) > 0 && r.rest[0] == ']'
	}
}

func (r *plainReader) ranges() []offsets.Range {
	all := []offsets.Range{}
	r.list(func() {
		r.take("[")
		lo := r.int()
		r.take(",")
		hi := r.int()
		r.take("]")
		all = append(all, offsets.Range{Lo: lo, Hi: hi})
	})
	return all
}

func (r *plainReader) positions() []Position {
	all := []Position{}
	r.list(func() {
		var p Position
		r.take(`{"topic":`)
		p.Topic = r.text()
		r.take(`,"partition":`)
		p.Partition = r.int32()
		r.take(`,"offset":`)
		p.Offset = r.int()
		if r.has(`,"topic_id":`) {
			p.TopicID = r.topicID()
		}
		if r.has(`,"span":`) {
			p.Span = r.int()
		}
		r.take("}")
		all = append(all, p)
	})
	return all
}

// end reports whether all was in the form that is read, to the end.
func (r *plainReader) end() bool {
	r.take("}")
	return !r.wrong && len(r.rest) == 0
}

// plainSettled decodes a settled fact. ok is false if it is not in the form that is read.
func plainSettled(value []byte) (s *Settled, ok bool) {
	r := &plainReader{rest: value}
	s = new(Settled)
	r.take(`{"kind":"story.settled","v":1,"correlation":`)
	s.Correlation = r.text()
	if r.has(`,"root":`) {
		s.Root = r.text()
	}
	r.take(`,"episode":`)
	s.Episode = int(r.int())
	r.take(`,"events":`)
	s.Events = int(r.int())
	if r.has(`,"through":`) {
		s.Through = r.positions()
	}
	if r.has(`,"at":`) {
		s.At = r.time()
	}
	return s, r.end()
}

// plainMarks decodes marks. ok is false if they are not in the form that is read.
func plainMarks(value []byte) (m *Marks, ok bool) {
	r := &plainReader{rest: value}
	m = new(Marks)
	r.take(`{"kind":"marks","v":1,"reaction":`)
	m.Reaction = r.text()
	r.take(`,"topic":`)
	m.Topic = r.text()
	if r.has(`,"topic_id":`) {
		m.TopicID = r.topicID()
	}
	r.take(`,"partition":`)
	m.Partition = r.int32()
	if r.has(`,"epoch":`) {
		m.Epoch = r.int()
	}
	if r.has(`,"leader_epoch":`) {
		leader := r.int32()
		m.Leader = &leader
	}
	if r.has(`,"done":`) {
		m.Done = r.ranges()
	}
	if r.has(`,"unhandled":`) {
		m.Unhandled = r.ranges()
	}
	if r.has(`,"emitted":`) {
		m.Emitted = r.ranges()
	}
	if r.has(`,"through":`) {
		m.Through = r.positions()
	}
	r.take(`,"position":`)
	m.Position = r.int()
	if r.has(`,"started":`) {
		m.Started = r.time()
	}
	if r.has(`,"finished":`) {
		m.Finished = r.time()
	}
	if r.has(`,"times":`) {
		r.list(func() {
			r.take("[")
			offset := r.int()
			r.take(",")
			took := r.int()
			r.take(",")
			m.Times = append(m.Times, m.timing([3]int64{offset, took, r.int()}))
			r.take("]")
		})
	}
	return m, r.end()
}

// timing returns an entry of Times, which a record has as offset, duration and time since Started, both in microseconds.
func (m *Marks) timing(t [3]int64) Timing {
	return Timing{
		Offset:   t[0],
		Took:     time.Duration(t[1]) * time.Microsecond,
		Finished: m.Started.Add(time.Duration(t[2]) * time.Microsecond),
	}
}

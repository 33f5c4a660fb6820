package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// topicPartition is one partition, by the topic's name: no test gives a name twice.
type topicPartition struct {
	topic     string
	partition int32
}

func (p topicPartition) String() string { return fmt.Sprintf("%s/%d", p.topic, p.partition) }

// record is one record as a reader got it.
type record struct {
	offset int64
	value  string
}

// position is a group's committed offset in one partition.
type position struct {
	group          string
	topicPartition topicPartition
}

// log reads what a broker has: by the protocol, or directly from an engine.
type log interface {
	// topics returns the number of partitions of each topic.
	topics() (map[string]int32, error)
	// read returns all records from an offset, or from the log's start if that is higher, to the end.
	read(p topicPartition, from int64) (got []record, start int64, err error)
	// committed returns a group's positions.
	committed(group string) (map[topicPartition]int64, error)
}

// ledger has everything that a broker has answered: what it acknowledged, and what consumers received. It is kept in the
// test's process, which does not break. It is safe for concurrent use: mu protects all fields.
type ledger struct {
	mu        sync.Mutex
	made      map[string]int32 // topics that must be there, unless going
	going     map[string]bool  // their deletion was asked for
	gone      map[string]bool  // their deletion was acknowledged
	shrinking map[string]bool  // topics with retention: their start may move
	compacted map[string]bool  // topics with compaction: a producer's last record is there, earlier ones may be
	records   map[topicPartition]map[int64]string
	verified  map[topicPartition]int64 // everything told below was there at the last audit
	starts    map[topicPartition]int64 // the highest log start seen
	sent      map[string]int           // by producer: how many were sent
	asked     map[position]int64
	acked     map[position]int64
	producers map[int64]bool
	promises  int      // how many there were
	broken    []string // found as they were told
}

func newLedger() *ledger {
	return &ledger{
		made: map[string]int32{}, going: map[string]bool{}, gone: map[string]bool{}, shrinking: map[string]bool{}, compacted: map[string]bool{},
		records: map[topicPartition]map[int64]string{}, verified: map[topicPartition]int64{}, starts: map[topicPartition]int64{}, sent: map[string]int{},
		asked: map[position]int64{}, acked: map[position]int64{}, producers: map[int64]bool{},
	}
}

// copy returns a copy that shares nothing with the original.
func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	c.made, c.going, c.gone = maps.Clone(l.made), maps.Clone(l.going), maps.Clone(l.gone)
	c.shrinking, c.compacted = maps.Clone(l.shrinking), maps.Clone(l.compacted)
	for p, records := range l.records {
		c.records[p] = maps.Clone(records)
	}
	c.verified, c.starts, c.sent, c.asked, c.acked = maps.Clone(l.verified), maps.Clone(l.starts), maps.Clone(l.sent), maps.Clone(l.asked), maps.Clone(l.acked)
	c.producers, c.promises, c.broken = maps.Clone(l.producers), l.promises, slices.Clone(l.broken)
	return c
}

func (l *ledger) note(what func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
}

func (l *ledger) topicMade(name string, partitions int32) {
	l.note(func() { l.made[name], l.promises = partitions, l.promises+1 })
}

func (l *ledger) topicGoing(name string) { l.note(func() { l.going[name] = true }) }

// topicGone removes a topic's records and positions from the ledger.
func (l *ledger) topicGone(name string) {
	l.note(func() {
		l.gone[name], l.promises = true, l.promises+1
		delete(l.made, name)
		for p := range l.records {
			if p.topic == name {
				delete(l.records, p)
			}
		}
		for k := range l.acked {
			if k.topicPartition.topic == name {
				delete(l.acked, k)
			}
		}
	})
}

// next returns the payload that a producer sends next. The name of an idempotent one begins with "i": each of its
// payloads must be there once and in order. Others' may be missing if they were not acknowledged.
func (l *ledger) next(producer string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := l.sent[producer]
	l.sent[producer]++
	return Payload(producer, seq)
}

func (l *ledger) recordAcked(p topicPartition, offset int64, value string) {
	l.note(func() { l.put(p, offset, value, "acknowledged") })
}

func (l *ledger) recordShown(p topicPartition, offset int64, value string) {
	l.note(func() { l.put(p, offset, value, "shown") })
}

func (l *ledger) put(p topicPartition, offset int64, value, how string) {
	l.promises++
	if l.gone[p.topic] {
		return
	}
	if l.records[p] == nil {
		l.records[p] = map[int64]string{}
	}
	if before, ok := l.records[p][offset]; ok && before != value {
		l.broken = append(l.broken, fmt.Sprintf("I2: %v offset %d was %q and is now %s as %q", p, offset, before, how, value))
	}
	l.records[p][offset] = value
}

func (l *ledger) commitAsked(k position, offset int64) {
	l.note(func() { l.asked[k] = max(l.asked[k], offset) })
}

func (l *ledger) commitAcked(k position, offset int64) {
	l.note(func() { l.acked[k], l.promises = max(l.acked[k], offset), l.promises+1 })
}

func (l *ledger) producerMade(id int64) {
	l.note(func() {
		if l.producers[id] {
			l.broken = append(l.broken, fmt.Sprintf("I4: producer id %d was given twice", id))
		}
		l.producers[id], l.promises = true, l.promises+1
	})
}

func (l *ledger) broke(format string, args ...any) {
	l.note(func() { l.broken = append(l.broken, fmt.Sprintf(format, args...)) })
}

// count returns how many records and positions were acknowledged so far.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.promises
}

// audit compares a log with the ledger and returns every broken promise. If all is false it only checks what was noted
// since the last audit that succeeded. err means that the log could not be read, and nothing about the promises. What is
// noted while the audit runs is left to the next.
func (l *ledger) audit(from log, all bool) (broken []string, err error) {
	l.mu.Lock()
	broken, l.broken = l.broken, nil
	made, gone, promised, acked := maps.Clone(l.made), maps.Clone(l.gone), map[topicPartition]map[int64]string{}, maps.Clone(l.acked)
	verified := maps.Clone(l.verified)
	for p, records := range l.records {
		promised[p] = map[int64]string{}
		for offset, value := range records {
			if all || offset >= verified[p] {
				promised[p][offset] = value
			}
		}
	}
	l.mu.Unlock()

	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	have, err := from.topics()
	if err != nil {
		return broken, err
	}
	for name, partitions := range made {
		if n := have[name]; n < partitions && !l.leaving(name) {
			fail("I1: topic %s has %d partitions of %d", name, n, partitions)
		}
	}
	var names []string
	for name := range have {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if gone[name] {
			fail("I1: topic %s was deleted and is back", name)
			continue
		}
		for i := range have[name] {
			p := topicPartition{name, i}
			begin := int64(0)
			if !all {
				begin = verified[p]
			}
			if !all && len(promised[p]) == 0 {
				continue
			}
			got, start, err := from.read(p, begin)
			if err != nil {
				if l.leaving(name) {
					continue
				}
				return broken, fmt.Errorf("read %v: %w", p, err)
			}
			broken = append(broken, l.auditPartition(p, got, start, begin, promised[p], all)...)
			l.note(func() {
				if len(got) > 0 {
					l.verified[p] = got[len(got)-1].offset + 1
				}
				l.starts[p] = max(l.starts[p], start)
			})
		}
	}
	more, err := l.auditPositions(from, acked)
	return append(broken, more...), err
}

// auditPartition checks one partition: what was promised is at its offset, no offset is missing, every payload is one
// that was sent, and each producer's come once and in their order.
func (l *ledger) auditPartition(p topicPartition, got []record, start, begin int64, promised map[int64]string, all bool) (broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	l.mu.Lock()
	lowest, shrinking, compacted, sent := l.starts[p], l.shrinking[p.topic], l.compacted[p.topic], maps.Clone(l.sent)
	l.mu.Unlock()
	if start < lowest || start > 0 && !shrinking {
		fail("I1: %v starts at %d, it was %d", p, start, lowest)
	}
	if compacted {
		return append(broken, auditCompacted(p, got, promised, sent)...)
	}
	at := make(map[int64]string, len(got))
	for i, r := range got {
		if want := max(start, begin) + int64(i); r.offset != want {
			fail("I2: %v has offset %d where %d belongs", p, r.offset, want)
			return broken
		}
		at[r.offset] = r.value
	}
	for offset, want := range promised {
		if have, ok := at[offset]; offset >= max(start, begin) && (!ok || have != want) {
			fail("I1/I2: %v offset %d was %q and is %q", p, offset, want, have)
		}
	}
	next := map[string]int{}
	for _, r := range got {
		producer, seq, sound := ParsePayload(r.value)
		if !sound || seq >= sent[producer] {
			fail("I7: %v offset %d holds %q, which nobody sent", p, r.offset, r.value)
			continue
		}
		want, seen := next[producer]
		idempotent := strings.HasPrefix(producer, "i")
		switch {
		case seen && seq < want || !seen && all && start == 0 && idempotent && seq > 0:
			fail("I4: %v offset %d holds %q; %d is next of that producer", p, r.offset, r.value, want)
		case seen && idempotent && seq > want:
			fail("I4: %v offset %d holds %q, but %d is missing", p, r.offset, r.value, want)
		}
		next[producer] = seq + 1
	}
	return broken
}

// auditCompacted checks a partition in which each producer writes one key: what is there is as it was promised, and the
// last record that was promised of each producer is there, or a later one.
func auditCompacted(p topicPartition, got []record, promised map[int64]string, sent map[string]int) (broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	last := map[string]int{} // by producer: what is there
	before := int64(-1)
	for _, r := range got {
		producer, seq, sound := ParsePayload(r.value)
		switch want, ok := promised[r.offset]; {
		case r.offset <= before:
			fail("I2: %v offset %d comes after %d", p, r.offset, before)
		case !sound || seq >= sent[producer]:
			fail("I7: %v offset %d holds %q, which nobody sent", p, r.offset, r.value)
		case ok && want != r.value:
			fail("I1/I10: %v offset %d was %q and is %q", p, r.offset, want, r.value)
		}
		before, last[producer] = r.offset, seq
	}
	for offset, value := range promised {
		producer, seq, _ := ParsePayload(value)
		if have, ok := last[producer]; !ok || have < seq {
			fail("I1/I10: %v offset %d was %q, and nothing as late of that key is there", p, offset, value)
		}
	}
	return broken
}

func (l *ledger) auditPositions(from log, acked map[position]int64) (broken []string, err error) {
	groups := map[string]map[topicPartition]int64{}
	for k, offset := range acked {
		if groups[k.group] == nil {
			if groups[k.group], err = from.committed(k.group); err != nil {
				return broken, fmt.Errorf("positions of %s: %w", k.group, err)
			}
		}
		l.mu.Lock()
		asked := l.asked[k]
		l.mu.Unlock()
		if have := groups[k.group][k.topicPartition]; (have < offset || have > asked) && !l.leaving(k.topicPartition.topic) {
			broken = append(broken, fmt.Sprintf("I6: %s was acknowledged at %d in %v, asked for %d, and is at %d", k.group, offset, k.topicPartition, asked, have))
		}
	}
	return broken, nil
}

func (l *ledger) leaving(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.going[topic]
}

// fakeLog is a log whose content a test sets.
type fakeLog struct {
	parts   map[string]int32
	records map[topicPartition][]record
	starts  map[topicPartition]int64
	groups  map[topicPartition]int64
}

func (s *fakeLog) topics() (map[string]int32, error) { return s.parts, nil }
func (s *fakeLog) read(p topicPartition, from int64) (got []record, start int64, err error) {
	for _, r := range s.records[p] {
		if r.offset >= from {
			got = append(got, r)
		}
	}
	return got, s.starts[p], nil
}
func (s *fakeLog) committed(string) (map[topicPartition]int64, error) { return s.groups, nil }

// Case: the audit finds each kind of broken promise, and none in a log that kept them all.
func TestAuditFindsBrokenPromises(t *testing.T) {
	a, b := topicPartition{"a", 0}, topicPartition{"b", 0}
	for _, c := range []struct {
		name string
		want string // of the one complaint; "": none
		harm func(l *ledger, s *fakeLog)
	}{
		{"nothing is wrong", "", func(*ledger, *fakeLog) {}},
		{"a topic is gone", "topic b has 0 partitions", func(_ *ledger, s *fakeLog) { delete(s.parts, "b") }},
		{"a topic on its way out is gone", "", func(l *ledger, s *fakeLog) { l.topicGoing("b"); delete(s.parts, "b") }},
		{"a deleted topic is back", "topic b was deleted", func(l *ledger, _ *fakeLog) { l.topicGoing("b"); l.topicGone("b") }},
		{"the last record is lost", "offset 2 was", func(_ *ledger, s *fakeLog) { s.records[a] = s.records[a][:2] }},
		{"a record has another's bytes", "offset 0 was", func(_ *ledger, s *fakeLog) { s.records[b][0].value = Payload("i-b", 1) }},
		{"a record nobody sent", "which nobody sent", func(l *ledger, s *fakeLog) {
			s.records[a] = append(s.records[a], record{3, Payload("i-a", 77)})
		}},
		{"damaged bytes", "which nobody sent", func(_ *ledger, s *fakeLog) { s.records[a] = append(s.records[a], record{3, "i-a#1#00000000"}) }},
		{"an idempotent record twice", "is next of that producer", func(_ *ledger, s *fakeLog) {
			s.records[a] = append(s.records[a], record{3, Payload("i-a", 2)})
		}},
		{"an idempotent record left out", "is missing", func(l *ledger, s *fakeLog) {
			l.next("i-a")
			s.records[a] = append(s.records[a], record{3, l.next("i-a")})
		}},
		{"a plain record left out", "", func(l *ledger, s *fakeLog) {
			l.next("p-b")
			s.records[b] = append(s.records[b], record{1, l.next("p-b")})
		}},
		{"an offset left out", "where 3 belongs", func(l *ledger, s *fakeLog) { s.records[a] = append(s.records[a], record{4, l.next("i-a")}) }},
		{"the start moved", "starts at 1", func(_ *ledger, s *fakeLog) { s.starts[a], s.records[a] = 1, s.records[a][1:] }},
		{"a position went back", "is at 1", func(_ *ledger, s *fakeLog) { s.groups[a] = 1 }},
		{"a position that nobody asked for", "is at 9", func(_ *ledger, s *fakeLog) { s.groups[a] = 9 }},
		{"a compacted topic without its last", "nothing as late of that key", func(l *ledger, s *fakeLog) {
			l.compacted["a"], s.records[a] = true, s.records[a][:2]
		}},
		{"a compacted topic with its last", "", func(l *ledger, s *fakeLog) { l.compacted["a"], s.records[a] = true, s.records[a][2:] }},
		{"an offset was acknowledged twice", "is now acknowledged as", func(l *ledger, _ *fakeLog) { l.recordAcked(a, 2, "other"); l.recordAcked(a, 2, Payload("i-a", 2)) }},
		{"a producer id was given twice", "given twice", func(l *ledger, _ *fakeLog) { l.producerMade(5) }},
	} {
		l := newLedger()
		s := &fakeLog{map[string]int32{"a": 1, "b": 1}, map[topicPartition][]record{}, map[topicPartition]int64{}, map[topicPartition]int64{a: 2}}
		l.topicMade("a", 1)
		l.topicMade("b", 1)
		l.producerMade(5)
		for i := range int64(3) {
			v := l.next("i-a")
			s.records[a] = append(s.records[a], record{i, v})
			l.recordAcked(a, i, v)
		}
		l.next("i-b")
		l.next("i-b")
		s.records[b] = []record{{0, Payload("i-b", 0)}}
		l.recordShown(b, 0, Payload("i-b", 0))
		l.commitAsked(position{"g", a}, 3)
		l.commitAcked(position{"g", a}, 2)
		c.harm(l, s)
		broken, err := l.audit(s, true)
		text := strings.Join(broken, "\n")
		if err != nil || (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, text, err, c.want)
		}
	}
}

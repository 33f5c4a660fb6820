package kafka

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// asking returns a request for partitions, given as "topic/index", each from offset 0.
func asking(partitions ...string) *fetchRequest {
	r := &fetchRequest{}
	for _, p := range partitions {
		topic, index := nameAndIndex(p)
		r.topics = append(r.topics, fetchTopic{name: []byte(topic), lo: len(r.partitions), hi: len(r.partitions) + 1})
		r.partitions = append(r.partitions, fetchPartition{fetchWant: fetchWant{index: index}})
	}
	return r
}

// forgetting returns r, which also forgets partitions.
func (r *fetchRequest) forgetting(partitions ...string) *fetchRequest {
	for _, p := range partitions {
		topic, index := nameAndIndex(p)
		r.forgotten = append(r.forgotten, fetchTopic{name: []byte(topic), lo: len(r.forgottenIndexes), hi: len(r.forgottenIndexes) + 1})
		r.forgottenIndexes = append(r.forgottenIndexes, index)
	}
	return r
}

func nameAndIndex(p string) (topic string, index int32) {
	topic, n, _ := strings.Cut(p, "/")
	fmt.Sscan(n, &index)
	return topic, index
}

// asked returns the partitions of r.
func (r *fetchRequest) asked() string {
	var all []string
	for _, t := range r.topics {
		for _, p := range r.partitions[t.lo:t.hi] {
			all = append(all, fmt.Sprintf("%s/%d", t.name, p.index))
		}
	}
	return strings.Join(all, " ")
}

// got sets r.results, one for each partition of r, and returns r. A partition that results lacks is empty, and begins and ends at 0.
func (r *fetchRequest) got(results map[string]engine.Fetched) *fetchRequest {
	r.results = nil
	for _, t := range r.topics {
		for i := t.lo; i < t.hi; i++ {
			r.partitions[i].result = len(r.results)
			r.results = append(r.results, results[fmt.Sprintf("%s/%d", t.name, r.partitions[i].index)])
		}
	}
	return r
}

// TestFetchSession goes through the life of a session by what each response has.
func TestFetchSession(t *testing.T) {
	type results = map[string]engine.Fetched
	s := newFetchSession(7, false)
	s.begin(asking("a/0", "a/1", "b/0", "c/0").got(results{"c/0": {Err: engine.ErrOffsetOutOfRange}}))
	records := [][]byte{[]byte("batch")}
	for _, step := range []struct {
		what   string
		change *fetchRequest
		order  string // what the engine is asked for
		got    results
		told   string
	}{
		{"nothing new; the error has gone", asking(), "a/0 a/1 b/0 c/0", nil, "c/0"},
		{"nothing new", asking(), "a/0 a/1 b/0 c/0", nil, ""},
		{"records", asking(), "a/0 a/1 b/0 c/0", results{"a/0": {HighWatermark: 1, Records: records}}, "a/0"},
		{"the same records again, another end without records, another start", asking(), "a/1 b/0 c/0 a/0",
			results{"a/0": {HighWatermark: 1, Records: records}, "a/1": {HighWatermark: 4}, "b/0": {LogStart: 1}}, "a/1 b/0 a/0"},
		{"all of that is told", asking("a/0"), "a/1 b/0 c/0 a/0",
			results{"a/0": {HighWatermark: 1}, "a/1": {HighWatermark: 4}, "b/0": {LogStart: 1}}, ""},
		{"an error is told each time", asking(), "a/1 b/0 c/0 a/0",
			results{"a/0": {HighWatermark: 1}, "a/1": {Err: engine.ErrUnknownTopic}, "b/0": {LogStart: 1}}, "a/1"},
		{"and what comes after it", asking(), "a/1 b/0 c/0 a/0",
			results{"a/0": {HighWatermark: 1}, "a/1": {HighWatermark: 4}, "b/0": {LogStart: 1}}, "a/1"},
		{"partitions come and go", asking("d/5", "b/1").forgetting("a/1", "c/0", "c/1", "none/0", "b/1"), "b/0 a/0 d/5",
			results{"a/0": {HighWatermark: 1}, "b/0": {LogStart: 1}}, "d/5"},
		{"one comes back as if it was new", asking("c/0"), "b/0 a/0 d/5 c/0", results{"a/0": {HighWatermark: 1}, "b/0": {LogStart: 1}}, "c/0"},
	} {
		s.update(step.change)
		r := &fetchRequest{}
		s.fill(r)
		if got := r.asked(); got != step.order {
			t.Errorf("%s: asks for %s, not %s", step.what, got, step.order)
		}
		s.answer(r.got(step.got))
		if got := r.asked(); got != step.told {
			t.Errorf("%s: told %q, not %q", step.what, got, step.told)
		}
	}
	s.update(asking().forgetting("a/0", "b/0", "c/0", "d/5"))
	if len(s.order) != 0 || len(s.topics) != 0 || s.nameBytes != 0 {
		t.Errorf("left of a session that has forgotten all: %+v", s)
	}
}

// TestFetchSessionRefuses checks the epochs and ways to name topics that a session takes.
func TestFetchSessionRefuses(t *testing.T) {
	s := newFetchSession(7, true)
	for _, c := range []struct {
		epoch int32
		byID  bool
		want  Code
	}{{1, true, none}, {0, true, invalidFetchSessionEpoch}, {2, true, invalidFetchSessionEpoch}, {-2, true, invalidFetchSessionEpoch}, {1, false, fetchSessionTopicIDError}} {
		if got := s.check(c.epoch, c.byID); got != c.want {
			t.Errorf("epoch %d, by id %t: %d, want %d", c.epoch, c.byID, got, c.want)
		}
	}
	s.advance()
	if s.check(2, true) != none || s.check(1, true) != invalidFetchSessionEpoch {
		t.Errorf("after an answer: epoch %d", s.epoch)
	}
	s.epoch = math.MaxInt32
	if s.advance(); s.epoch != 1 {
		t.Errorf("after the largest: epoch %d", s.epoch)
	}
}

// TestFetchSessionByID has topics whose names are not sent.
func TestFetchSessionByID(t *testing.T) {
	s := newFetchSession(7, true)
	one, two := meta.TopicID{1}, meta.TopicID{2}
	row := fetchPartition{result: -1}
	s.begin(&fetchRequest{topics: []fetchTopic{{id: one, hi: 1}, {id: two, lo: 1, hi: 2}}, partitions: []fetchPartition{row, row}})
	s.update(&fetchRequest{forgotten: []fetchTopic{{id: one, hi: 1}}, forgottenIndexes: []int32{0}})
	r := &fetchRequest{}
	if s.fill(r); len(r.topics) != 1 || r.topics[0].id != two {
		t.Errorf("left: %+v", r.topics)
	}
}

// TestMemoryOfAFetchSession compares the memory that a session counts with what it takes: for many partitions of a topic and for
// many topics, when it begins and when it grows a partition at a time.
func TestMemoryOfAFetchSession(t *testing.T) {
	const partitions = 20_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, topics := range []int{1, 100, partitions} {
		var all []string
		for i := range partitions {
			all = append(all, fmt.Sprintf("a-topic-with-a-name-of-some-length-%d/%d", i%topics, i/topics))
		}
		r := asking(all...).got(nil)
		var sessions []*fetchSession
		before := heap()
		for range 8 {
			s := newFetchSession(1, false)
			s.begin(r)
			sessions = append(sessions, s)
		}
		counted, took := 0, int(heap()-before)
		for _, s := range sessions {
			counted += s.bytes
		}
		t.Logf("%d topics: %d bytes counted, %d taken", topics, counted, took)
		if took > counted || took < counted/4 {
			t.Errorf("%d topics: %d bytes are counted, and %d taken", topics, counted, took)
		}
		runtime.KeepAlive(r)
	}
	// Case: a session that has forgotten counts what it had, as its maps do not shrink.
	s := newFetchSession(1, false)
	s.begin(asking("a/0", "a/1", "a/2").got(nil))
	largest := s.bytes
	if s.update(asking().forgetting("a/0", "a/1")); s.bytes != largest {
		t.Errorf("%d bytes, where %d were taken", s.bytes, largest)
	}
}

// TestFetchSessionIsAFullFetch makes random requests of a session to a log that changes at random. What the client has been
// told by the end of each response must be what a full fetch of the same partitions says.
func TestFetchSessionIsAFullFetch(t *testing.T) {
	rng := seeded(t)
	for range 50 {
		world := map[string]engine.Fetched{}
		all := []string{"a/0", "a/1", "a/2", "b/0", "b/1", "c/0", "d/7"}
		pick := func() []string {
			var some []string
			for _, p := range all {
				if rng.IntN(3) == 0 {
					some = append(some, p)
				}
			}
			return some
		}
		s, wanted, knows := newFetchSession(1, false), map[string]bool{}, map[string]string{}
		says := func(f engine.Fetched) string { return fmt.Sprint(f.HighWatermark, f.LogStart, f.Err) }
		full := asking(pick()...)
		for round := range 100 {
			added, dropped := pick(), pick()
			if round == 0 {
				added, dropped = strings.Fields(full.asked()), nil
			}
			for _, p := range added {
				wanted[p] = true
			}
			for _, p := range dropped {
				delete(wanted, p)
				delete(knows, p)
			}
			for _, p := range pick() {
				f := world[p]
				switch f.Records = nil; rng.IntN(4) {
				case 0:
					f.HighWatermark++
					f.Records = [][]byte{[]byte("x")}
				case 1:
					f.HighWatermark++ // the response has no room for the records
				case 2:
					f.LogStart = f.HighWatermark
				case 3:
					f.Err = errors.Join(f.Err, engine.ErrOffsetOutOfRange)
				}
				world[p] = f
			}
			r := full
			if round == 0 {
				s.begin(r.got(world))
			} else {
				s.update(asking(added...).forgetting(dropped...))
				r = &fetchRequest{}
				s.fill(r)
				s.answer(r.got(world))
			}
			told := strings.Fields(r.asked())
			for _, p := range told {
				knows[p] = says(world[p])
			}
			for p := range wanted {
				if knows[p] != says(world[p]) {
					t.Fatalf("round %d: the client believes that %s has %q, it has %q", round, p, knows[p], says(world[p]))
				}
				if len(world[p].Records) > 0 && !slices.Contains(told, p) {
					t.Fatalf("round %d: the records of %s were left out", round, p)
				}
			}
			if len(knows) != len(wanted) || len(s.order) != len(wanted) {
				t.Fatalf("round %d: %d wanted, %d told, %d in the session", round, len(wanted), len(knows), len(s.order))
			}
			for _, p := range all { // records and errors are gone
				f := world[p]
				f.Records = nil
				if rng.IntN(2) == 0 {
					f.Err = nil
				}
				world[p] = f
			}
		}
	}
}

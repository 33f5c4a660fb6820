package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// ledger has everything that an engine has answered, in order: what was acknowledged, and what a consumer was shown. While
// a workload runs it only grows, so that its state at a moment is a length. mu guards all fields.
type ledger struct {
	mu     sync.Mutex
	events []any
	noted  int
}

type (
	topicMade    struct{ topic meta.Topic }
	topicGoing   struct{ id meta.TopicID } // a deletion has begun: it may or may not be there
	topicGone    struct{ id meta.TopicID }
	batchAcked   struct{ batch sentBatch }
	recordShown  struct{ record recordAt } // a consumer has got it
	recordKept   struct{ record recordAt } // a recovery has brought it back: it is durable, whatever its topic's mode
	offsetAsked  struct{ key groupKey }    // a commit has begun
	offsetAcked  struct{ key groupKey }
	producerMade struct{ id int64 }
)

// sentBatch is a batch that was acknowledged at base.
type sentBatch struct {
	p       Partition
	base    int64
	records []string
}

type recordAt struct {
	p      Partition
	offset int64
	value  string
}

type groupKey struct {
	group  string
	tp     group.TopicPartition
	offset int64
}

func (l *ledger) note(ev any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
	l.noted++
}

// forgetDeleted drops the records of topics whose deletion was acknowledged.
func (l *ledger) forgetDeleted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := expect(l.events).gone
	l.events = slices.DeleteFunc(slices.Clone(l.events), func(ev any) bool {
		switch ev := ev.(type) {
		case batchAcked:
			return gone[ev.batch.p.Topic]
		case recordShown:
			return gone[ev.record.p.Topic]
		case recordKept:
			return gone[ev.record.p.Topic]
		}
		return false
	})
}

// forgetLax drops the records of topics that acknowledge before the sync: a power cut has lost some of them, and their
// offsets are given again.
func (l *ledger) forgetLax() {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := expect(l.events)
	stored := func(p Partition) bool { m := x.modes[p.Topic]; return m == meta.Interval || m == meta.OS }
	l.events = slices.DeleteFunc(slices.Clone(l.events), func(ev any) bool {
		switch ev := ev.(type) {
		case batchAcked:
			return stored(ev.batch.p)
		case recordShown:
			return stored(ev.record.p)
		}
		return false
	})
}

// moment returns the ledger as it is now.
func (l *ledger) moment() []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[:len(l.events):len(l.events)]
}

// expectation is what a moment of the ledger promises.
type expectation struct {
	topics    map[meta.TopicID]meta.Topic
	gone      map[meta.TopicID]bool
	going     map[meta.TopicID]bool
	names     map[meta.TopicID]string
	records   map[Partition]map[int64]string // these must be there
	modes     map[meta.TopicID]meta.Durability
	lax       []sentBatch         // written and perhaps not synced, in order: a first part of them must be there
	shown     []recordAt          // of such batches: if anything is at the offset, it is this
	forgotten map[Partition]int64 // in memory mode: the first offset that was never seen
	committed map[groupKey]int64  // key without its offset
	asked     map[groupKey]int64
	producers map[int64]bool
}

func expect(events []any) expectation {
	x := expectation{
		map[meta.TopicID]meta.Topic{}, map[meta.TopicID]bool{}, map[meta.TopicID]bool{}, map[meta.TopicID]string{}, map[Partition]map[int64]string{},
		map[meta.TopicID]meta.Durability{}, nil, nil, map[Partition]int64{},
		map[groupKey]int64{}, map[groupKey]int64{}, map[int64]bool{},
	}
	for _, ev := range events {
		switch ev := ev.(type) {
		case topicMade:
			x.topics[ev.topic.ID], x.names[ev.topic.ID] = ev.topic, ev.topic.Name
			x.modes[ev.topic.ID] = ev.topic.Config(meta.Defaults{}).Durability
		case topicGoing:
			x.going[ev.id] = true
		case topicGone:
			x.gone[ev.id] = true
			delete(x.topics, ev.id)
		case batchAcked:
			switch p := ev.batch.p; x.modes[p.Topic] {
			case meta.Interval, meta.OS:
				x.lax = append(x.lax, ev.batch)
				continue
			case meta.Memory:
				x.forgotten[p] = max(x.forgotten[p], ev.batch.base+int64(len(ev.batch.records)))
				continue
			}
			x.putBatch(ev.batch)
			// Batches are answered in the order of the journal, so what was answered before this one is synced with it.
			for _, b := range x.lax {
				x.putBatch(b)
			}
			x.lax = nil
		case recordShown:
			switch r := ev.record; x.modes[r.p.Topic] {
			case meta.Interval, meta.OS:
				x.shown = append(x.shown, r)
			case meta.Memory:
				x.forgotten[r.p] = max(x.forgotten[r.p], r.offset+1)
			default:
				x.put(r)
			}
		case recordKept:
			x.put(ev.record)
		case offsetAsked:
			k := groupKey{ev.key.group, ev.key.tp, 0}
			x.asked[k] = max(x.asked[k], ev.key.offset)
		case offsetAcked:
			k := groupKey{ev.key.group, ev.key.tp, 0}
			x.committed[k] = max(x.committed[k], ev.key.offset)
		case producerMade:
			x.producers[ev.id] = true
		}
	}
	return x
}

func (x expectation) putBatch(b sentBatch) {
	for i, r := range b.records {
		x.put(recordAt{b.p, b.base + int64(i), r})
	}
}

func (x expectation) put(r recordAt) {
	if x.records[r.p] == nil {
		x.records[r.p] = map[int64]string{}
	}
	x.records[r.p][r.offset] = r.value
}

// audit compares an engine that has recovered with x, what the ledger had before the power cut, and returns every broken
// promise. may is what the ledger had some time after the cut: what was under way may be there or not.
func audit(e *Engine, x, may expectation) (broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	for id, t := range x.topics {
		if have, ok := e.TopicByID(id); !ok && !may.going[id] {
			fail("I1: topic %s is lost", t.Name)
		} else if ok && (have.Name != t.Name || have.Partitions < t.Partitions) {
			fail("I1: topic %s came back as %s with %d partitions", t.Name, have.Name, have.Partitions)
		}
	}
	broken = append(broken, auditModes(e, x)...)
	for _, t := range e.Topics() {
		if x.gone[t.ID] {
			fail("topic %s was deleted and is back", t.Name)
		}
		for i := range t.Partitions {
			id := Partition{Topic: t.ID, Index: i}
			got, start, err := readLog(e, id)
			if err != nil {
				fail("I1: %s/%d can't be read: %v", t.Name, i, err)
				continue
			}
			for offset, want := range x.records[id] {
				if have, ok := got[offset]; offset >= start && (!ok || have != want) {
					fail("I1/I2: %s/%d offset %d was %q and is %q", t.Name, i, offset, want, have)
				}
			}
			broken = append(broken, auditOrder(t.Name, i, got, start)...)
			for pid, b := range lastBatches(e, id, start) {
				if a := appendNow(e, id, b); a.Err != nil || a.BaseOffset != b.BaseOffset() {
					fail("I4: the last batch of producer %d in %s/%d, at %d, was sent again and answered %d, %v", pid, t.Name, i, b.BaseOffset(), a.BaseOffset, a.Err)
				}
			}
		}
	}
	dropped := map[string]bool{} // offsets go with their topic
	for id := range may.going {
		dropped[may.names[id]] = true
	}
	for k, offset := range x.committed {
		if dropped[k.tp.Topic] {
			continue
		}
		got, err := e.FetchOffsets(k.group, nil)
		if have := got[k.tp]; err != nil || have.Offset < offset || have.Offset > may.asked[k] {
			fail("I6: %s was acknowledged at %d in %v and is at %v (%v)", k.group, offset, k.tp, have.Offset, err)
		}
	}
	for range 3 {
		if id, _, err := e.InitProducerID(noWait, -1, -1); err != nil || x.producers[id] {
			fail("I4: producer id %d was given twice (%v)", id, err)
		}
	}
	return broken
}

// auditOrder checks one partition by itself: offsets without a gap, payloads that someone sent, none twice, and each
// producer's in the order sent.
func auditOrder(topic string, index int32, got map[int64]string, start int64) (broken []string) {
	next := map[string]int{}
	for offset := start; offset < start+int64(len(got)); offset++ {
		value, ok := got[offset]
		producer, seq, sound := faults.ParsePayload(value)
		switch {
		case !ok:
			return append(broken, fmt.Sprintf("I2: %s/%d has no offset %d", topic, index, offset))
		case !sound:
			broken = append(broken, fmt.Sprintf("I7: %s/%d offset %d holds %q, which nobody sent", topic, index, offset, value))
		case seq < next[producer]:
			broken = append(broken, fmt.Sprintf("I4: %s/%d offset %d holds %q again or out of order", topic, index, offset, value))
		}
		next[producer] = seq + 1
	}
	return broken
}

// lastBatches finds the last batch of each idempotent producer in a partition.
func lastBatches(e *Engine, id Partition, start int64) map[int64]batch.View {
	last := map[int64]batch.View{}
	for next := start; ; {
		f := fetchNow(e, id, next)
		if listed, err := e.OffsetFor(id, Earliest); errors.Is(f.Err, ErrOffsetOutOfRange) && err == nil && listed.Offset > next {
			next = listed.Offset // retention was faster: there is more
			continue
		}
		if f.Err != nil || len(f.Records) == 0 {
			return last
		}
		for _, run := range f.Records {
			for v := range batch.Split(run) {
				if v.ProducerID() >= 0 {
					last[v.ProducerID()] = v
				}
				next = v.NextOffset()
			}
		}
	}
}

// readLog reads all records of a partition by their offset. It begins anew when retention was faster.
func readLog(e *Engine, id Partition) (got map[int64]string, start int64, err error) {
	for range 100 {
		if got, start, err = tryReadLog(e, id); !errors.Is(err, ErrOffsetOutOfRange) {
			break
		}
	}
	return got, start, err
}

func tryReadLog(e *Engine, id Partition) (got map[int64]string, start int64, err error) {
	got = map[int64]string{}
	listed, err := e.OffsetFor(id, Earliest)
	if err != nil {
		return nil, 0, err
	}
	start = listed.Offset
	for next := start; ; {
		f := fetchNow(e, id, next)
		if f.Err != nil || len(f.Records) == 0 {
			return got, start, f.Err
		}
		for _, run := range f.Records {
			for v, err := range batch.Split(run) {
				if err != nil {
					return nil, 0, err
				}
				for r, err := range batch.Records(v, math.MaxInt32) {
					if err != nil {
						return nil, 0, err
					}
					if r.Offset >= start { // retention may cut inside a batch
						got[r.Offset] = string(r.Value)
					}
				}
				next = v.NextOffset()
			}
		}
	}
}

func fetchNow(e *Engine, id Partition, offset int64) Fetched {
	return e.Fetch(noWait, FetchRequest{
		Partitions: []FetchPartition{{Partition: id, Offset: offset, MaxBytes: 1 << 20, LeaderEpoch: -1}}, MaxBytes: 1 << 20,
	}, nil)[0]
}

// appendNow appends and waits for the answer.
func appendNow(e *Engine, id Partition, records []byte) Appended {
	answer := make(chan Appended, 1)
	e.Append(id, records, func(a Appended) { answer <- a })
	return <-answer
}

// newBatch makes a batch of values, of an idempotent producer if pid ≥ 0.
func newBatch(pid int64, baseSequence int32, values ...string) batch.View {
	var b batch.Builder
	if pid >= 0 {
		b.Producer(pid, 0, baseSequence)
	}
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), []byte("key"), []byte(v), batch.Header{Key: "h", Value: []byte("x")})
	}
	return b.Batch()
}

// Case: the audit itself finds what it is for; an auditor that is never seen to fail proves nothing.
func TestAuditFindsBrokenPromises(t *testing.T) {
	e := openMem(t, nil)
	topic := makeTopic(t, e, "orders", 1)
	id := Partition{Topic: topic.ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, faults.Payload("a", 1)))
	appendNow(e, id, newBatch(-1, -1, faults.Payload("a", 1)))
	appendNow(e, id, newBatch(77, 0, faults.Payload("b", 0)))
	e.topics.parts.get(id).producers = txn.Producers{} // as if recovery had forgotten it
	given, _, err := e.InitProducerID(noWait, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	lost := meta.Topic{Name: "lost", ID: meta.TopicID{1}, Partitions: 1}
	key := groupKey{"g", group.TopicPartition{Topic: "orders"}, 7}
	told := []any{
		topicMade{topic}, topicMade{lost}, recordShown{recordAt{id, 0, faults.Payload("a", 2)}}, recordShown{recordAt{id, 9, faults.Payload("a", 9)}},
		offsetAsked{key}, offsetAcked{key}, producerMade{given + 1},
		batchAcked{sentBatch{p: id, base: 1, records: []string{faults.Payload("b", 5)}}},
	}
	broken := strings.Join(audit(e, expect(told), expect(told)), "\n")
	for _, want := range []string{
		"topic lost is lost", "offset 0 was", "offset 1 was", "offset 9 was", "again or out of order", "was acknowledged at 7", "given twice", "was sent again",
	} {
		if !strings.Contains(broken, want) {
			t.Errorf("the audit did not find %q in:\n%s", want, broken)
		}
	}
}

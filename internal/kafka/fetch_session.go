package kafka

import (
	"math"
	"slices"

	"tidings.dev/internal/meta"
)

// fetchSession is what one client fetches again and again, so that its requests name only the partitions that have
// changed, and so do the responses (KIP-227; docs/kafka-traps.md, trap 13). It does no I/O and has no clock. It belongs to the goroutine that handles the
// requests of one connection.
//
// Invariant: order contains each partition of topics once.
type fetchSession struct {
	id    int32
	epoch int32 // the epoch that the next request must have
	byID  bool  // requests name topics by id, not by name
	// topics has the topics by name, or by the bytes of their id.
	topics map[string]*sessionTopic
	// order is the order in which partitions are fetched. Those of which the client got records go to the end, so that
	// each has its turn when a response has no room for all.
	order []*sessionPartition
	// bytes is about the memory of the session when it was largest: maps and slices keep what they have taken.
	bytes     int
	nameBytes int // of the names of topics
}

// sessionTopic is a topic of a fetchSession, which has at least one partition. Its name and id never change.
type sessionTopic struct {
	name       []byte
	id         meta.TopicID
	partitions map[int32]*sessionPartition
}

// sessionPartition is a partition of a fetchSession: what the client wants, and what it was told last.
type sessionPartition struct {
	topic *sessionTopic
	fetchWant
	// highWatermark and logStart are those of the last response that had the partition; highWatermark is -1 if that
	// response had an error or nothing was told yet.
	highWatermark int64
	logStart      int64
}

// What a session and each of its topics and partitions take at most in its maps and slices, and a topic its name twice.
// TestMemoryOfAFetchSession measures it.
const (
	sessionBytes          = 512
	sessionTopicBytes     = 320
	sessionPartitionBytes = 128
)

// sessionSize returns about the memory of a session, in bytes.
func sessionSize(topics, nameBytes, partitions int) int {
	return sessionBytes + sessionTopicBytes*topics + 2*nameBytes + sessionPartitionBytes*partitions
}

// newFetchSession returns a session without partitions, whose next request must have epoch 1.
func newFetchSession(id int32, byID bool) *fetchSession {
	return &fetchSession{id: id, epoch: 1, byID: byID, topics: map[string]*sessionTopic{}, bytes: sessionBytes}
}

// check returns the error code for an incremental fetch of this session: none if the request may be served.
func (s *fetchSession) check(epoch int32, byID bool) Code {
	switch {
	case epoch != s.epoch:
		return invalidFetchSessionEpoch
	case byID != s.byID:
		return fetchSessionTopicIDError
	}
	return none
}

// advance makes the session expect the next epoch: they count from 1 to the largest int32, and then from 1 again.
func (s *fetchSession) advance() {
	if s.epoch == math.MaxInt32 {
		s.epoch = 0
	}
	s.epoch++
}

// want adds a partition to the session, or changes what the client wants of it. What the client was told stays, so that
// another offset alone is not answered. It copies the name of t.
func (s *fetchSession) want(t fetchTopic, w fetchWant) *sessionPartition {
	topic := s.topics[string(t.key(s.byID))]
	if topic == nil {
		topic = &sessionTopic{name: append([]byte(nil), t.name...), id: t.id, partitions: map[int32]*sessionPartition{}}
		s.topics[string(t.key(s.byID))] = topic
		s.nameBytes += len(t.name)
	}
	p := topic.partitions[w.index]
	if p == nil {
		p = &sessionPartition{topic: topic, highWatermark: -1}
		topic.partitions[w.index] = p
		s.order = append(s.order, p)
		s.bytes = max(s.bytes, sessionSize(len(s.topics), s.nameBytes, len(s.order)))
	}
	p.fetchWant = w
	return p
}

// forget removes partitions from topics, and marks them for update, which removes them from order. Partitions that the
// session does not have are ignored.
func (s *fetchSession) forget(t fetchTopic, indexes []int32) {
	topic := s.topics[string(t.key(s.byID))]
	if topic == nil {
		return
	}
	for _, index := range indexes {
		if p := topic.partitions[index]; p != nil {
			p.topic = nil
			delete(topic.partitions, index)
		}
	}
	if len(topic.partitions) == 0 {
		delete(s.topics, string(t.key(s.byID)))
		s.nameBytes -= len(topic.name)
	}
}

// update applies what an incremental request changes: first the partitions that it adds, then those that it forgets.
func (s *fetchSession) update(r *fetchRequest) {
	for _, t := range r.topics {
		for _, p := range r.partitions[t.lo:t.hi] {
			s.want(t, p.fetchWant)
		}
	}
	for _, t := range r.forgotten {
		s.forget(t, r.forgottenIndexes[t.lo:t.hi])
	}
	if len(r.forgotten) > 0 {
		kept := s.order[:0]
		for _, p := range s.order {
			if p.topic != nil {
				kept = append(kept, p)
			}
		}
		clear(s.order[len(kept):])
		s.order = kept
	}
}

// fill makes r ask for all partitions of the session, in their order. Partitions of one topic that follow each other are
// in one fetchTopic.
func (s *fetchSession) fill(r *fetchRequest) {
	r.topics, r.partitions = r.topics[:0], slices.Grow(r.partitions[:0], len(s.order))
	var last *sessionTopic
	for i, p := range s.order {
		if p.topic != last {
			last = p.topic
			r.topics = append(r.topics, fetchTopic{name: last.name, id: last.id, lo: i})
		}
		r.partitions = append(r.partitions, fetchPartition{fetchWant: p.fetchWant})
		r.topics[len(r.topics)-1].hi = i + 1
	}
}

// partitionNews is what a response would say of a partition, as far as a session compares it.
type partitionNews struct {
	highWatermark int64
	logStart      int64
	failed        bool // the partition has an error, or the client's log has diverged
	records       bool
}

// tell reports whether the response must have the partition, which then counts as told: it has records, an error, or
// another high watermark or log start than the client knows.
func (p *sessionPartition) tell(n partitionNews) bool {
	if n.failed {
		p.highWatermark = -1 // when the error has gone, the partition is told again
		return true
	}
	if !n.records && n.highWatermark == p.highWatermark && n.logStart == p.logStart {
		return false
	}
	p.highWatermark, p.logStart = n.highWatermark, n.logStart
	return true
}

// newsOf returns what the response to r says of a partition of r, which the engine has answered.
func (r *fetchRequest) newsOf(row *fetchPartition) partitionNews {
	if row.result < 0 {
		return partitionNews{failed: true}
	}
	got := &r.results[row.result]
	return partitionNews{highWatermark: got.HighWatermark, logStart: got.LogStart, failed: got.Err != nil, records: got.SizeBytes() > 0}
}

// begin adds all partitions of r to the session. They count as told, because r is answered in full.
func (s *fetchSession) begin(r *fetchRequest) {
	for _, t := range r.topics {
		for i := t.lo; i < t.hi; i++ {
			s.want(t, r.partitions[i].fetchWant).tell(r.newsOf(&r.partitions[i]))
		}
	}
}

// answer leaves in r the partitions that the response must have, and moves those with records to the end of the order. r
// must be as fill has made it, with the results of the engine.
func (s *fetchSession) answer(r *fetchRequest) {
	var served []*sessionPartition
	waiting, topics, rows := s.order[:0], r.topics[:0], r.partitions[:0]
	for _, t := range r.topics {
		lo := len(rows)
		for i := t.lo; i < t.hi; i++ {
			p, row := s.order[i], r.partitions[i]
			news := r.newsOf(&row)
			if news.records {
				served = append(served, p)
			} else {
				waiting = append(waiting, p)
			}
			if p.tell(news) {
				rows = append(rows, row)
			}
		}
		if t.lo, t.hi = lo, len(rows); t.hi > t.lo {
			topics = append(topics, t)
		}
	}
	s.order = append(waiting, served...)
	clear(r.topics[len(topics):])
	r.topics, r.partitions = topics, rows
}

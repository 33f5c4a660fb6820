package kafka

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Fetch (API key 1), versions 4–18, decoded and encoded by hand. Stored batches are sent as they are stored, without
// copying them. Over TCP, batches whose checksums are known to be right are sent from their file by sendfile
// (docs/adr/0010).
//
//	request   replica_id (–14) max_wait_ms min_bytes max_bytes isolation session_id session_epoch (7+)
//	          [topics: name (–12) | id (13+) [partitions: index leader_epoch (9+) offset last_fetched_epoch (12+)
//	          log_start (5+) max_bytes]] [forgotten: name | id [indexes]] (7+) rack (11+)
//	response  throttle_ms error session_id (7+) [topics: name | id [partitions: index error high_watermark last_stable
//	          log_start (5+) [aborted] preferred_replica (11+) records {0: diverging epoch}]]
//
// Deviations from Apache Kafka, explained in docs/kafka-differences.md:
//
//   - A fetch session (KIP-227) belongs to the connection that has begun it, and a connection has one at a time.
//   - A response has at most 16 MiB of records, and a Fetch waits for records for at most 5 minutes, and for at most 100 ms
//     while another request waits behind it on its connection.
//   - Clients below version 10 are sent zstd batches, too.
//   - There are no followers.

// fetchRequest is a Fetch request, and the body of its response. It is pooled: it returns to the pool when its response
// is encoded. At first only the handler uses it, then only the goroutine that encodes the response.
type fetchRequest struct {
	topics     []fetchTopic
	partitions []fetchPartition
	// forgotten are the partitions that an incremental fetch removes from its session; lo and hi are of forgottenIndexes.
	forgotten        []fetchTopic
	forgottenIndexes []int32
	query            []engine.FetchPartition // the partitions that the engine is asked for
	results          []engine.Fetched        // the engine's results, in the order of query
	names            []byte                  // topic names, copied from the frame so that the frame can be released
	code             Code                    // error code of the whole response; sent from version 7 on
	sessionID        int32                   // the session that the client has from now on; 0: none

	committed bool // the client's isolation level is read_committed
}

// readCommitted is the isolation level read_committed. Its responses have a list of aborted transactions.
const readCommitted = 1

// fetchTopic is one topic of a Fetch request.
type fetchTopic struct {
	name   []byte       // part of fetchRequest.names; set in versions 4–12
	id     meta.TopicID // set from version 13 on
	lo, hi int          // its partitions are fetchRequest.partitions[lo:hi]
}

// key returns the bytes that tell the topic from the others of its request. The caller must not change them.
func (t *fetchTopic) key(byID bool) []byte {
	if byID {
		return t.id[:]
	}
	return t.name
}

// fetchWant is what a client wants of one partition.
type fetchWant struct {
	index       int32
	leaderEpoch int32 // the leader epoch that the client believes is current; -1: not checked
	offset      int64
	lastEpoch   int32 // the leader epoch of the last record that the client has; -1: not checked
	maxBytes    int32
}

// fetchPartition is one partition of a Fetch request.
type fetchPartition struct {
	fetchWant
	code   Code // the answer if result is -1
	result int  // index in query and results, or -1 if the partition is answered without the engine

	diverging bool // the client's log diverged: lastEpoch ended before its offset (KIP-595), at endOffset of epoch
	epoch     int32
	endOffset int64
}

// fetchPartitionBytes is about the memory in bytes that one partition of a Fetch takes while it is handled: its
// fetchPartition, its elements in query and results, and its entry in the engine's list of waiting fetches.
const fetchPartitionBytes = 240

// fetchTopicBytes is the same for a topic.
const fetchTopicBytes = 64

// maxFetchPartitions is the number of partitions, each in a topic of its own, that one request or one fetch session may
// have. A client without a session asks for all its partitions each time, and the index of stories reads all that there are.
const maxFetchPartitions = 20_000

// fetchRequestPool has fetchRequests with room for at most maxPooledFetchPartitions partitions, largeFetchRequestPool those
// with more, so that small requests do not hold the memory of large ones.
var (
	fetchRequestPool      = sync.Pool{New: func() any { return new(fetchRequest) }}
	largeFetchRequestPool = sync.Pool{New: func() any { return new(fetchRequest) }}
)

// fetch handles one Fetch request and takes ownership of its frame. It blocks for up to max_wait_ms until min_bytes of
// records are available, and answers early when c.pollCtx is done. It returns an error, which must end the connection,
// for a malformed request.
func (c *conn) fetch(f *frame) error {
	version := f.version
	d := requestDecoder{rest: f.body, flexible: version >= f.api.flexible}
	if version <= 14 {
		d.int32() // replica id: there are no replicas, so a request that claims to come from one is served as a client's
	}
	maxWait, minBytes, maxBytes := d.int32(), d.int32(), d.int32()
	committed := d.int8() == readCommitted
	session := sessionOfRequest{epoch: finalEpoch, byID: version >= 13}
	if version >= 7 {
		session.id, session.epoch = d.int32(), d.int32()
	}

	pool := &fetchRequestPool
	if c.fetchedPartitions > maxPooledFetchPartitions {
		pool = &largeFetchRequestPool
	}
	r := pool.Get().(*fetchRequest)
	r.committed = committed
	budgetBytes := max(2*c.server.config.MaxRequestBytes-len(f.buf.Bytes), maxFetchPartitions*(fetchPartitionBytes+fetchTopicBytes))
	if err := r.readTopics(&d, version, budgetBytes); err != nil {
		c.releaseFrame(f)
		return err
	}
	resp := c.newResponse(f, r)
	c.releaseFrame(f)

	incremental, code := c.applySession(session, r)
	if code != none {
		r.code, r.topics, r.partitions = code, r.topics[:0], r.partitions[:0]
		c.server.responseBytes.add(32)
		c.responses.send(resp, 32)
		return nil
	}
	c.fetchedPartitions = len(r.partitions)
	c.resolve(r, version)

	wait := min(time.Duration(max(maxWait, 0))*time.Millisecond, c.server.config.MaxFetchWait)
	if len(r.query) < len(r.partitions) || minBytes <= 0 {
		wait = 0 // answer at once if a partition has an error or the client asks for no bytes
	}
	wait = c.waitBeforeOthers(wait)
	budget := c.server.responseBytes
	wait = budget.awaitRoomWithin(c.pollCtx, wait)
	if c.gone() {
		return nil // nothing need be read for it
	}
	maxResponseBytes := min(int(max(maxBytes, 0)), c.server.config.MaxFetchBytes)
	r.results = c.server.engine.Fetch(c.pollCtx, engine.FetchRequest{
		Partitions: r.query,
		MaxBytes:   maxResponseBytes,
		MinBytes:   min(int(max(minBytes, 0)), maxResponseBytes), // a larger minimum could not be met
		MaxWait:    wait,
		Hurry:      c.behind, HurriedWait: hurriedFetchWait,
		Stored:    c.responses.tcp != nil,
		Budget:    budget,
		Committed: r.committed,
	}, r.results[:0])
	if incremental != nil {
		incremental.answer(r)
	} else if session.epoch == initialEpoch {
		c.beginSession(r, session.byID)
	}
	size := 0
	for i := range r.results {
		size += r.results[i].InMemoryBytes()
	}
	rest := 64 * len(r.partitions)
	budget.add(rest) // the engine has taken the size of the records
	c.responses.send(resp, size+rest)
	return nil
}

// hurriedFetchWait is the longest time that a Fetch waits for records while another request waits behind it on its connection.
const hurriedFetchWait = 100 * time.Millisecond

// waitBeforeOthers returns wait, or less if another request is behind the one that the worker handles. For one that comes later
// the reader sends to c.behind.
func (c *conn) waitBeforeOthers(wait time.Duration) time.Duration {
	select {
	case <-c.behind:
	default:
	}
	if c.unhandled.Load() > 1 {
		return min(wait, hurriedFetchWait)
	}
	return wait
}

// sessionOfRequest is what a Fetch request says of its session.
type sessionOfRequest struct {
	id, epoch int32
	byID      bool // the request names topics by id
}

// The epochs of full fetches. All others are of incremental fetches.
const (
	initialEpoch = 0  // begins a session
	finalEpoch   = -1 // has none
)

// applySession ends the session that a full fetch names. For an incremental fetch it changes the session as r says, makes r
// ask for all partitions of the session, and returns it, or nil if the session has no partition left and has ended. A
// code other than none is the answer to the request.
func (c *conn) applySession(asked sessionOfRequest, r *fetchRequest) (*fetchSession, Code) {
	sessions, now := c.server.fetchSessions, time.Now()
	s := sessions.use(c, asked.id, now)
	if asked.epoch == initialEpoch || asked.epoch == finalEpoch {
		if s != nil {
			sessions.end(c)
		}
		return nil, none
	}
	if s == nil {
		return nil, fetchSessionIDNotFound
	}
	if code := s.check(asked.epoch, asked.byID); code != none {
		return nil, code
	}
	s.update(r)
	switch n := len(s.order); {
	case n == 0:
		sessions.end(c)
		s.fill(r)
		return nil, none
	case n > maxFetchPartitions || !sessions.resize(c, now):
		sessions.end(c)
		return nil, fetchSessionIDNotFound // the client will fetch in full, and do without a session
	}
	s.advance()
	s.fill(r)
	r.sessionID = s.id
	return s, none
}

// beginSession begins a fetch session of the connection with the partitions of r, which the engine has answered. It begins none if there
// is no room for one.
func (c *conn) beginSession(r *fetchRequest, byID bool) {
	if len(r.partitions) > maxFetchPartitions {
		return
	}
	s := newFetchSession(newSessionID(), byID)
	s.bytes = sessionSize(len(r.topics), len(r.names), len(r.partitions))
	if !c.server.fetchSessions.begin(c, s, time.Now()) {
		return
	}
	s.begin(r)
	r.sessionID = s.id
}

// readTopics decodes the topics of a request, and the fields after them, into r. Errors match ErrMalformed, or
// ErrRequestTooLarge if handling the partitions would take more than budgetBytes bytes of memory.
func (r *fetchRequest) readTopics(d *requestDecoder, version int16, budgetBytes int) error {
	for range d.array(2) {
		t := r.readTopic(d, version)
		t.lo = len(r.partitions)
		n := d.array(16)
		if room := min(n, budgetBytes/fetchPartitionBytes); room > 0 { // in one step, which makes no garbage
			r.partitions = slices.Grow(r.partitions, room)
		}
		for range n {
			r.partitions = append(r.partitions, fetchPartition{fetchWant: readFetchWant(d, version)})
			if budgetBytes -= fetchPartitionBytes; budgetBytes < 0 || !d.ok() {
				break
			}
		}
		d.skipTags()
		t.hi = len(r.partitions)
		r.topics = append(r.topics, t)
		if budgetBytes -= fetchTopicBytes; budgetBytes < 0 {
			return fmt.Errorf("%w: Fetch of more than %d partitions", ErrRequestTooLarge, len(r.partitions))
		}
		if !d.ok() {
			break
		}
	}
	if version >= 7 {
		if err := r.readForgotten(d, version, budgetBytes); err != nil {
			return err
		}
	}
	if version >= 11 {
		d.str() // rack: there are no other replicas to choose from
	}
	d.skipTags() // cluster id and replica state, which only followers send
	if !d.ok() { // bytes after the request are ignored (docs/kafka-traps.md, trap 22)
		return fmt.Errorf("%w: Fetch version %d", ErrMalformed, version)
	}
	return nil
}

// readTopic decodes what names a topic, into memory that stays when the frame is released.
func (r *fetchRequest) readTopic(d *requestDecoder, version int16) (t fetchTopic) {
	if version >= 13 {
		t.id = d.topicID()
		return t
	}
	from := len(r.names)
	r.names = append(r.names, d.str()...)
	t.name = r.names[from:len(r.names):len(r.names)]
	return t
}

// readForgotten decodes the partitions that the client removes from its fetch session. The error matches
// ErrRequestTooLarge if the topics would take more than budgetBytes.
func (r *fetchRequest) readForgotten(d *requestDecoder, version int16, budgetBytes int) error {
	for range d.array(2) {
		t := r.readTopic(d, version)
		t.lo = len(r.forgottenIndexes)
		for range d.array(4) {
			r.forgottenIndexes = append(r.forgottenIndexes, d.int32())
		}
		t.hi = len(r.forgottenIndexes)
		d.skipTags()
		r.forgotten = append(r.forgotten, t)
		if budgetBytes -= fetchTopicBytes; budgetBytes < 0 {
			return fmt.Errorf("%w: Fetch that forgets more than %d topics", ErrRequestTooLarge, len(r.forgotten))
		}
		if !d.ok() {
			break
		}
	}
	return nil
}

// readFetchWant decodes what the client wants of one partition.
func readFetchWant(d *requestDecoder, version int16) fetchWant {
	w := fetchWant{index: d.int32(), leaderEpoch: -1, lastEpoch: -1}
	if version >= 9 {
		w.leaderEpoch = d.int32()
	}
	w.offset = d.int64()
	if version >= 12 {
		w.lastEpoch = d.int32()
	}
	if version >= 5 {
		d.int64() // log start, which only followers send
	}
	w.maxBytes = d.int32()
	d.skipTags() // replica directory and high watermark, which only followers send
	return w
}

// resolve finds the topics of r and makes the query of the engine. Partitions that are answered without the engine get
// their code or diverging epoch.
func (c *conn) resolve(r *fetchRequest, version int16) {
	r.query = slices.Grow(r.query, len(r.partitions))
	for _, t := range r.topics {
		var topic meta.Topic
		var known bool
		if version >= 13 {
			topic, known = c.server.engine.TopicByID(t.id)
		} else {
			topic, known = c.server.engine.Topic(string(t.name))
		}
		for i := t.lo; i < t.hi; i++ {
			row := &r.partitions[i]
			row.result = -1
			p := engine.Partition{Topic: topic.ID, Index: row.index}
			switch {
			case !known && version >= 13:
				row.code = unknownTopicID
			case !known || row.index < 0 || row.index >= topic.Partitions:
				row.code = unknownTopicOrPartition
			case row.lastEpoch >= 0 && c.diverged(p, row):
			default:
				row.result = len(r.query)
				r.query = append(r.query, engine.FetchPartition{
					Partition: p, Offset: row.offset, MaxBytes: int(max(row.maxBytes, 0)), LeaderEpoch: row.leaderEpoch,
				})
			}
		}
	}
}

// diverged reports whether the client has read records of row.lastEpoch that a recovery of the log has cut off, and after
// which it has begun a new epoch (docs/kafka-traps.md, trap 14). If so, diverged sets in row the offset at which that
// epoch ended, which the client is sent in place of records.
func (c *conn) diverged(p engine.Partition, row *fetchPartition) bool {
	epoch, end, err := c.server.engine.EpochEnd(p, row.lastEpoch)
	if err != nil || end < 0 || epoch == row.lastEpoch && end >= row.offset {
		return false
	}
	row.diverging, row.epoch, row.endOffset = true, epoch, end
	return true
}

// maxPooledFetchPartitions is the room of a fetchRequest in fetchRequestPool. One with more room for names or forgotten
// partitions than this is not returned to a pool.
const (
	maxPooledFetchPartitions = 1024
	maxPooledFetchNameBytes  = 64 << 10
)

// recycle returns r to its pool, without the batches in results. Nothing may use r afterwards.
func (r *fetchRequest) recycle() {
	if cap(r.forgottenIndexes) > maxPooledFetchPartitions || cap(r.names) > maxPooledFetchNameBytes {
		return
	}
	pool := &fetchRequestPool
	if cap(r.partitions) > maxPooledFetchPartitions {
		pool = &largeFetchRequestPool
	}
	for i := range r.results {
		records := r.results[i].Records
		clear(records) // releases the batches and keeps the slice for reuse
		r.results[i] = engine.Fetched{Records: records[:0]}
	}
	clear(r.topics)
	clear(r.forgotten)
	*r = fetchRequest{topics: r.topics[:0], partitions: r.partitions[:0], forgotten: r.forgotten[:0], forgottenIndexes: r.forgottenIndexes[:0],
		query: r.query[:0], results: r.results[:0], names: r.names[:0]}
	pool.Put(r)
}

// encode encodes the body of the response, and then recycles r. It implements responseBody.
func (r *fetchRequest) encode(e *responseEncoder, version int16) {
	e.int32(0) // throttle_ms
	if version >= 7 {
		e.int16(r.code)
		e.int32(r.sessionID)
	}
	e.array(len(r.topics))
	for _, t := range r.topics {
		if version >= 13 {
			e.topicID(t.id)
		} else {
			e.str(t.name)
		}
		e.array(t.hi - t.lo)
		for i := range r.partitions[t.lo:t.hi] {
			r.encodePartition(e, version, &r.partitions[t.lo+i])
		}
		e.noTags()
	}
	e.noTags()
	r.recycle()
}

// encodePartition encodes one partition's row of the response.
func (r *fetchRequest) encodePartition(e *responseEncoder, version int16, row *fetchPartition) {
	unanswered := engine.Fetched{HighWatermark: -1, LastStable: -1, LogStart: -1}
	got, code := &unanswered, row.code
	if row.result >= 0 {
		got = &r.results[row.result]
		if code = fetchCode(got.Err, version); code != none {
			got = &unanswered
		}
	}
	e.int32(row.index)
	e.int16(code)
	e.int64(got.HighWatermark)
	e.int64(got.LastStable)
	if version >= 5 {
		e.int64(got.LogStart)
	}
	if r.committed {
		e.array(len(got.Aborted))
		for _, a := range got.Aborted {
			e.int64(a.ProducerID)
			e.int64(a.First)
			e.noTags()
		}
	} else {
		e.array(-1) // null: the client did not ask for aborted transactions
	}
	if version >= 11 {
		e.int32(-1) // preferred replica
	}
	if stored, ok := got.Stored.Open(); ok {
		e.array(stored.SizeBytes())
		e.attachStored(stored)
		// no stored batches, or their file was removed meanwhile: then there are no records, and the client fetches again
	} else {
		e.array(got.InMemoryBytes())
		for _, b := range got.Records {
			e.attach(b)
		}
	}
	switch {
	case row.diverging: // tag 0 of 13 bytes: epoch, end offset, no tagged fields
		e.uvarint(1)
		e.uvarint(0)
		e.uvarint(13)
		e.int32(row.epoch)
		e.int64(row.endOffset)
		e.noTags()
	default:
		e.noTags()
	}
}

// fetchCode returns Kafka's code for the error of a partition, in a response of the given version.
func fetchCode(err error, version int16) Code {
	code := dataCode(err)
	switch {
	case code == kafkaStorageError && version < 6: // KAFKA_STORAGE_ERROR came with version 6 (KIP-112)
		return notLeaderOrFollower
	case code == unknownTopicOrPartition && version >= 13 && errors.Is(err, engine.ErrUnknownTopic):
		return unknownTopicID // the topic was deleted while the fetch waited
	}
	return code
}

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
//   - There are no fetch sessions (KIP-227): every response is full and has session id 0, which tells the client that it
//     has no session.
//   - A response has at most 16 MiB of records, and a Fetch waits for records for at most 5 minutes.
//   - read_committed means read_uncommitted, as there are no transactions.
//   - Clients below version 10 are sent zstd batches, too.
//   - There are no followers.

// fetchRequest is a Fetch request, and the body of its response. It is pooled: it returns to the pool when its response
// is encoded. At first only the handler uses it, then only the goroutine that encodes the response.
type fetchRequest struct {
	topics     []fetchTopic
	partitions []fetchPartition
	query      []engine.FetchPartition // the partitions that the engine is asked for
	results    []engine.Fetched        // the engine's results, in the order of query
	names      []byte                  // topic names, copied from the frame so that the frame can be released
	code       Code                    // error code of the whole response; sent from version 7 on

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

// fetchPartition is one partition of a Fetch request.
type fetchPartition struct {
	index  int32
	code   Code // the answer if result is -1
	result int  // index in query and results, or -1 if the partition is answered without the engine

	diverging bool // the client's log diverged: lastEpoch ended before its offset (KIP-595), at endOffset of epoch
	epoch     int32
	endOffset int64
}

// fetchPartitionBytes is about the memory in bytes that one partition of a Fetch takes while it is handled: its
// fetchPartition, its elements in query and results, and its entry in the engine's list of waiting fetches.
const fetchPartitionBytes = 224

// fetchTopicBytes is the same for a topic.
const fetchTopicBytes = 64

// maxFetchPartitions is the number of partitions, each in a topic of its own, that one request may have. A client without
// fetch sessions asks for all its partitions each time, and the index of stories reads all that there are.
const maxFetchPartitions = 20_000

var fetchRequestPool = sync.Pool{New: func() any { return new(fetchRequest) }}

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
	sessionEpoch := int32(-1)
	if version >= 7 {
		d.int32() // session id
		sessionEpoch = d.int32()
	}

	r := fetchRequestPool.Get().(*fetchRequest)
	r.committed = committed
	budgetBytes := max(2*c.server.config.MaxRequestBytes-len(f.buf.Bytes), maxFetchPartitions*(fetchPartitionBytes+fetchTopicBytes))
	if err := c.readFetchTopics(&d, r, version, budgetBytes); err != nil {
		c.releaseFrame(f)
		return err
	}
	resp := c.newResponse(f, r)
	c.releaseFrame(f)

	// An incremental fetch belongs to a session, and this broker never opens a session (docs/kafka-traps.md, trap 13).
	// A full fetch (epoch 0 or -1) is served, whatever session it names or asks to close.
	if sessionEpoch > 0 || sessionEpoch < -1 {
		r.code, r.topics, r.partitions, r.query = fetchSessionIDNotFound, r.topics[:0], r.partitions[:0], r.query[:0]
		c.responses.send(resp, 32)
		return nil
	}

	wait := min(time.Duration(max(maxWait, 0))*time.Millisecond, c.server.config.MaxFetchWait)
	if len(r.query) < len(r.partitions) || minBytes <= 0 {
		wait = 0 // answer at once if a partition has an error or the client asks for no bytes
	}
	maxResponseBytes := c.server.responseBytes.limit(min(int(max(maxBytes, 0)), c.server.config.MaxFetchBytes))
	r.results = c.server.engine.Fetch(c.pollCtx, engine.FetchRequest{
		Partitions: r.query,
		MaxBytes:   maxResponseBytes,
		MinBytes:   min(int(max(minBytes, 0)), maxResponseBytes), // a larger minimum could not be met
		MaxWait:    wait,
		Stored:     c.responses.tcp != nil,
	}, r.results[:0])
	size := 0
	for i := range r.results {
		size += r.results[i].InMemoryBytes()
	}
	c.responses.send(resp, size+64*len(r.partitions))
	return nil
}

// readFetchTopics decodes the topics of a request, and the fields after them, into r. Errors match ErrMalformed, or
// ErrRequestTooLarge if handling the partitions would take more than budgetBytes bytes of memory.
func (c *conn) readFetchTopics(d *requestDecoder, r *fetchRequest, version int16, budgetBytes int) error {
	for range d.array(2) {
		t := fetchTopic{lo: len(r.partitions)}
		var topic meta.Topic
		var known bool
		if version >= 13 {
			t.id = d.topicID()
			topic, known = c.server.engine.TopicByID(t.id)
		} else {
			from := len(r.names)
			r.names = append(r.names, d.str()...)
			t.name = r.names[from:len(r.names):len(r.names)]
			topic, known = c.server.engine.Topic(string(t.name))
		}
		n := d.array(16)
		if room := min(n, budgetBytes/fetchPartitionBytes); room > 0 { // in one step, which makes no garbage
			r.partitions, r.query = slices.Grow(r.partitions, room), slices.Grow(r.query, room)
		}
		for range n {
			c.readFetchPartition(d, r, version, topic, known)
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
		skipForgotten(d, version)
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

// skipForgotten skips the partitions that the client removes from its fetch session.
func skipForgotten(d *requestDecoder, version int16) {
	for range d.array(2) {
		if version >= 13 {
			d.topicID()
		} else {
			d.str()
		}
		d.take(4 * d.array(4))
		d.skipTags()
		if !d.ok() {
			return
		}
	}
}

// readFetchPartition decodes one partition into r. If the partition can be answered without the engine,
// readFetchPartition sets its code or diverging epoch; else it appends it to r.query. topic is the partition's topic,
// if known is true.
func (c *conn) readFetchPartition(d *requestDecoder, r *fetchRequest, version int16, topic meta.Topic, known bool) {
	row := fetchPartition{index: d.int32(), result: -1}
	leaderEpoch, lastEpoch := int32(-1), int32(-1)
	if version >= 9 {
		leaderEpoch = d.int32()
	}
	offset := d.int64()
	if version >= 12 {
		lastEpoch = d.int32()
	}
	if version >= 5 {
		d.int64() // log start, which only followers send
	}
	maxBytes := d.int32()
	d.skipTags() // replica directory and high watermark, which only followers send
	if !d.ok() {
		return
	}

	p := engine.Partition{Topic: topic.ID, Index: row.index}
	switch {
	case !known && version >= 13:
		row.code = unknownTopicID
	case !known || row.index < 0 || row.index >= topic.Partitions:
		row.code = unknownTopicOrPartition
	case lastEpoch >= 0 && c.diverged(p, lastEpoch, offset, &row):
	default:
		row.result = len(r.query)
		r.query = append(r.query, engine.FetchPartition{
			Partition: p, Offset: offset, MaxBytes: int(max(maxBytes, 0)), LeaderEpoch: leaderEpoch,
		})
	}
	r.partitions = append(r.partitions, row)
}

// diverged reports whether the client has read records of lastEpoch that a recovery of the log has cut off, and after
// which it has begun a new epoch (docs/kafka-traps.md, trap 14). If so, diverged sets in row the offset at which that
// epoch ended, which the client is sent in place of records.
func (c *conn) diverged(p engine.Partition, lastEpoch int32, offset int64, row *fetchPartition) bool {
	epoch, end, err := c.server.engine.EpochEnd(p, lastEpoch)
	if err != nil || end < 0 || epoch == lastEpoch && end >= offset {
		return false
	}
	row.diverging, row.epoch, row.endOffset = true, epoch, end
	return true
}

// A fetchRequest with more room than this is not returned to the pool.
const (
	maxPooledFetchPartitions = 1024
	maxPooledFetchNameBytes  = 64 << 10
)

// recycle returns r to its pool, without the batches in results. Nothing may use r afterwards.
func (r *fetchRequest) recycle() {
	if cap(r.partitions) > maxPooledFetchPartitions || cap(r.names) > maxPooledFetchNameBytes {
		return
	}
	for i := range r.results {
		records := r.results[i].Records
		clear(records) // releases the batches and keeps the slice for reuse
		r.results[i] = engine.Fetched{Records: records[:0]}
	}
	clear(r.topics)
	*r = fetchRequest{topics: r.topics[:0], partitions: r.partitions[:0], query: r.query[:0], results: r.results[:0], names: r.names[:0]}
	fetchRequestPool.Put(r)
}

// encode encodes the body of the response, and then recycles r. It implements responseBody.
func (r *fetchRequest) encode(e *responseEncoder, version int16) {
	e.int32(0) // throttle_ms
	if version >= 7 {
		e.int16(r.code)
		e.int32(0) // session id
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
		e.array(0) // aborted transactions: none
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

package kafka

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Fetch, versions 4–18. Decoded and encoded by hand; stored batches go out as they are, uncopied, and over TCP those that
// were checked before go from their file. There are no fetch
// sessions (KIP-227): every answer is full and has session id 0, which tells the client to go on without.
//
//	request   replica_id (–14) max_wait_ms min_bytes max_bytes isolation session_id session_epoch (7+)
//	          [topics: name (–12) | id (13+) [partitions: index leader_epoch (9+) offset last_fetched_epoch (12+)
//	          log_start (5+) max_bytes]] [forgotten: name | id [indexes]] (7+) rack (11+)
//	response  throttle_ms error session_id (7+) [topics: name | id [partitions: index error high_watermark last_stable
//	          log_start (5+) [aborted] preferred_replica (11+) records {0: diverging epoch}]]

// fetched is a Fetch request and the body of its answer. Pooled: it goes back once its answer is encoded.
type fetched struct {
	topics []fetchedTopic
	rows   []fetchedRow
	ask    []engine.FetchPartition
	got    []engine.Fetched
	names  []byte
	code   Code // of the whole answer; 7+

	committed bool // read_committed: as there are no transactions, everything that is visible is
}

// readCommitted is the isolation level that wants to know of aborted transactions.
const readCommitted = 1

type fetchedTopic struct {
	name   []byte // in names; –12
	id     meta.TopicID
	lo, hi int // rows
}

// fetchedRow is one partition of a Fetch request.
type fetchedRow struct {
	index int32
	code  Code
	at    int // in ask and got; -1: refused before the engine was asked

	diverging bool // KIP-595: the client's last epoch ended before its offset
	epoch     int32
	endOffset int64
}

// fetchRowBytes is what one partition of a Fetch costs while it is in work: its row, its question, its answer and its
// place in the list of waiters.
const fetchRowBytes = 224

var fetchedPool = sync.Pool{New: func() any { return new(fetched) }}

func (c *conn) fetch(f *frame) error {
	version := f.version
	d := decoder{rest: f.body, flexible: version >= f.api.flexible}
	if version <= 14 {
		d.int32() // replica id: replicas do not exist, and get what a client gets
	}
	maxWait, minBytes, maxBytes := d.int32(), d.int32(), d.int32()
	committed := d.int8() == readCommitted
	sessionEpoch := int32(-1)
	if version >= 7 {
		d.int32() // session id
		sessionEpoch = d.int32()
	}

	g := fetchedPool.Get().(*fetched)
	g.committed = committed
	budgetBytes := 2*c.server.config.MaxRequestBytes - len(f.buf.Bytes)
	if err := c.fetchedRows(&d, g, version, budgetBytes); err != nil {
		c.release(f)
		return err
	}
	place := c.answer(f, g)
	c.release(f)

	// Case (trap 13): an incremental fetch names a session, and none is ever given out. A full fetch (epoch 0 or -1) is
	// served whatever session it names or wants to close.
	if sessionEpoch > 0 || sessionEpoch < -1 {
		g.code, g.topics, g.rows, g.ask = fetchSessionIDNotFound, g.topics[:0], g.rows[:0], g.ask[:0]
		c.out.send(place, 32)
		return nil
	}

	wait := min(time.Duration(max(maxWait, 0))*time.Millisecond, c.server.config.MaxFetchWait)
	if len(g.ask) < len(g.rows) || minBytes <= 0 {
		wait = 0 // an error is an answer, and nothing may be enough
	}
	room := c.server.replies.share(min(int(max(maxBytes, 0)), c.server.config.MaxFetchBytes))
	g.got = c.server.engine.Fetch(c.polls, engine.FetchRequest{
		Partitions: g.ask,
		MaxBytes:   room,
		MinBytes:   min(int(max(minBytes, 0)), room), // more would never be there
		MaxWait:    wait,
		Stored:     c.out.tcp != nil,
	}, g.got[:0])
	size := 0
	for i := range g.got {
		size += g.got[i].InMemoryBytes()
	}
	c.out.send(place, size+64*len(g.rows))
	return nil
}

// fetchedRows reads the topics of a request, and what follows them, into g.
func (c *conn) fetchedRows(d *decoder, g *fetched, version int16, budgetBytes int) error {
	for range d.array(2) {
		t := fetchedTopic{lo: len(g.rows)}
		var topic meta.Topic
		var known bool
		if version >= 13 {
			t.id = d.topicID()
			topic, known = c.server.engine.TopicByID(t.id)
		} else {
			from := len(g.names)
			g.names = append(g.names, d.str()...)
			t.name = g.names[from:len(g.names):len(g.names)]
			topic, known = c.server.engine.Topic(string(t.name))
		}
		for range d.array(16) {
			c.fetchedRow(d, g, version, topic, known)
			if budgetBytes -= fetchRowBytes; budgetBytes < 0 || !d.ok() {
				break
			}
		}
		d.skipTags()
		t.hi = len(g.rows)
		g.topics = append(g.topics, t)
		if budgetBytes -= 64; budgetBytes < 0 {
			return fmt.Errorf("%w: Fetch of more than %d partitions", ErrRequestTooLarge, len(g.rows))
		}
		if !d.ok() {
			break
		}
	}
	if version >= 7 {
		skipForgotten(d, version)
	}
	if version >= 11 {
		d.str() // rack: there is one replica
	}
	d.skipTags() // cluster id and replica state, both of followers
	if !d.done() {
		return fmt.Errorf("%w: Fetch version %d", ErrMalformed, version)
	}
	return nil
}

func skipForgotten(d *decoder, version int16) {
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

// fetchedRow reads one partition, and decides what can be answered without the log.
func (c *conn) fetchedRow(d *decoder, g *fetched, version int16, topic meta.Topic, known bool) {
	row := fetchedRow{index: d.int32(), at: -1}
	leaderEpoch, lastEpoch := int32(-1), int32(-1)
	if version >= 9 {
		leaderEpoch = d.int32()
	}
	offset := d.int64()
	if version >= 12 {
		lastEpoch = d.int32()
	}
	if version >= 5 {
		d.int64() // log start: of followers
	}
	maxBytes := d.int32()
	d.skipTags() // replica directory and high watermark, both of followers
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
		row.at = len(g.ask)
		g.ask = append(g.ask, engine.FetchPartition{
			Partition: p, Offset: offset, MaxBytes: int(max(maxBytes, 0)), LeaderEpoch: leaderEpoch,
		})
	}
	g.rows = append(g.rows, row)
}

// diverged reports whether the client has read past what its last epoch became: a recovery has cut there, and begun a
// new epoch. The answer says where that epoch ended, in place of records.
func (c *conn) diverged(p engine.Partition, lastEpoch int32, offset int64, row *fetchedRow) bool {
	epoch, end, err := c.server.engine.EpochEnd(p, lastEpoch)
	if err != nil || end < 0 || epoch == lastEpoch && end >= offset {
		return false
	}
	row.diverging, row.epoch, row.endOffset = true, epoch, end
	return true
}

// fetchedKept is the number of partitions that a pooled request may keep.
const fetchedKept = 1024

func (g *fetched) recycle() {
	if cap(g.rows) > fetchedKept || cap(g.names) > 64<<10 {
		return
	}
	for i := range g.got {
		r := g.got[i].Records
		clear(r) // lets go of the batches, keeps the place for the next ones
		g.got[i] = engine.Fetched{Records: r[:0]}
	}
	clear(g.topics)
	*g = fetched{topics: g.topics[:0], rows: g.rows[:0], ask: g.ask[:0], got: g.got[:0], names: g.names[:0]}
	fetchedPool.Put(g)
}

func (g *fetched) encode(e *encoder, version int16) {
	e.int32(0) // throttle
	if version >= 7 {
		e.int16(g.code)
		e.int32(0) // session id
	}
	e.array(len(g.topics))
	for _, t := range g.topics {
		if version >= 13 {
			e.topicID(t.id)
		} else {
			e.str(t.name)
		}
		e.array(t.hi - t.lo)
		for i := range g.rows[t.lo:t.hi] {
			g.encodeRow(e, version, &g.rows[t.lo+i])
		}
		e.noTags()
	}
	e.noTags()
	g.recycle()
}

func (g *fetched) encodeRow(e *encoder, version int16, row *fetchedRow) {
	nothing := engine.Fetched{HighWatermark: -1, LastStable: -1, LogStart: -1}
	got, code := &nothing, row.code
	if row.at >= 0 {
		got = &g.got[row.at]
		code = fetchCode(got.Err, version)
	}
	e.int32(row.index)
	e.int16(code)
	e.int64(got.HighWatermark)
	e.int64(got.LastStable)
	if version >= 5 {
		e.int64(got.LogStart)
	}
	if g.committed {
		e.array(0) // aborted transactions: none
	} else {
		e.array(-1) // not asked for
	}
	if version >= 11 {
		e.int32(-1) // preferred replica
	}
	if stored, ok := got.Stored.Open(); ok {
		e.array(stored.SizeBytes())
		e.attachStored(stored)
	} else { // without records, should they have gone from where they were: the client asks again
		e.array(got.InMemoryBytes())
		for _, b := range got.Records {
			e.attach(b)
		}
	}
	switch {
	case row.diverging: // tag 0, 13 bytes: epoch, end offset, no tags
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

// fetchCode is the code of a read's error in the words of the request's version.
func fetchCode(err error, version int16) Code {
	code := dataCode(err)
	switch {
	case code == kafkaStorageError && version < 6: // KIP-112 came with version 6
		return notLeaderOrFollower
	case code == unknownTopicOrPartition && version >= 13 && errors.Is(err, engine.ErrUnknownTopic):
		return unknownTopicID // deleted while the fetch waited
	}
	return code
}

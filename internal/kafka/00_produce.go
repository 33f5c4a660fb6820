package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Produce, versions 0–13; below 3 (message formats 0 and 1) only to be refused with UNSUPPORTED_VERSION in its own
// words. Decoded by hand: record bytes alias the frame until the engine has copied them, or
// has taken the frame for its own, where it is little more than one batch.
//
//	request   transactional_id (3+) acks timeout_ms [topics: name (–12) | id (13+)
//	          [partitions: index records]]
//	response  [topics: name | id [partitions: index error base_offset log_append_time (2+) log_start (5+)
//	          [record_errors] error_message (8+)]] throttle_ms (1+)

// produced is a Produce request on its way, and the body of its answer. Pooled: it goes back once its answer is encoded
// or, without acknowledgement, once the last append is done.
type produced struct {
	conn    *conn
	place   *answer // nil: acks=0
	names   []byte  // topic names, copied so that the frame can go back at once
	topics  []producedTopic
	rows    []*producedRow
	version int16
	undone  atomic.Int32 // appends that have not called back, and one for the handler itself
	failed  atomic.Bool
}

type producedTopic struct {
	name   []byte // in produced.names; –12
	id     meta.TopicID
	lo, hi int // rows
}

// producedRow is one partition of a Produce request.
type producedRow struct {
	of       *produced
	index    int32
	appended engine.Appended
	done     func(engine.Appended) // row.finish, made once
}

var producedPool = sync.Pool{New: func() any { return new(produced) }}

// produce handles one request; with lead it also commits it, where the journal allows (solo).
func (c *conn) produce(f *frame, lead bool) error {
	version := f.version
	d := decoder{rest: f.body, flexible: version >= f.api.flexible}
	var transactional []byte
	if version >= 3 {
		transactional = d.nullableStr()
	}
	acks := d.int16()
	d.int32() // timeout: nothing here waits for replicas

	p := producedPool.Get().(*produced)
	p.conn, p.version = c, version
	p.undone.Store(1)
	var place *answer
	if acks != 0 {
		place = c.answer(f, p)
		place.held = lead
		p.place = place
	}
	// The frame is checked to its end before the first batch is appended, so that no half of it is taken.
	rows, err := checkProduceFrame(d, version)
	if err != nil {
		c.release(f)
		return err
	}
	if place != nil && !c.out.reserve(place) {
		c.release(f)
		return nil // the connection is broken
	}

	refusal := refuseProduce(version, acks, transactional)
	for range d.array(2) {
		topic, known := c.producedTopic(&d, p)
		for range d.array(5) {
			row := p.row(d.int32())
			records := d.nullableBytes()
			d.skipTags()
			err := refusal
			switch {
			case err != nil:
			case !known && version >= 13:
				err = errUnknownID
			case !known || row.index < 0 || row.index >= topic.Partitions:
				err = engine.ErrUnknownPartition
			default:
				err = checkProduced(records, version)
			}
			if err != nil {
				row.done(engine.Appended{Err: err})
				continue
			}
			to := engine.Partition{Topic: topic.ID, Index: row.index}
			if rows == 2 && f.holds(records) { // one topic, one partition
				// Its bytes are the log's from here on: not one of them may be read any more.
				p.topics[0].hi = 1
				held := f.held
				c.server.engine.AppendQuiet(to, records, f.handOver(), row.done)
				c.giveBack(held)
				p.finish()
				c.commit(place, lead)
				return nil
			}
			c.server.engine.AppendQuiet(to, records, nil, row.done)
		}
		d.skipTags()
		p.topics[len(p.topics)-1].hi = len(p.rows)
	}
	c.release(f)
	p.finish()
	c.commit(place, lead)
	return nil
}

// commit has what a request appended committed, and its answer sent if that is for us to do.
func (c *conn) commit(place *answer, lead bool) {
	if !lead || place == nil {
		c.server.engine.Wake()
		return
	}
	c.server.engine.Lead()
	c.solo.led(c.isAhead())
	c.out.push(place)
}

// maxProducedRows bounds the partitions and topics of one request, so that a frame full of empty ones cannot cost a
// multiple of itself.
const maxProducedRows = 1 << 16

// checkProduceFrame walks the topics of a Produce request to the end of the frame, and counts topics and partitions.
func checkProduceFrame(d decoder, version int16) (rows int, _ error) {
	for range d.array(2) {
		if version >= 13 {
			d.topicID()
		} else {
			d.str()
		}
		for range d.array(5) {
			d.int32()
			d.nullableBytes()
			d.skipTags()
			if rows++; rows > maxProducedRows || !d.ok() {
				break
			}
		}
		d.skipTags()
		if rows++; rows > maxProducedRows {
			return 0, fmt.Errorf("%w: Produce to more than %d partitions", ErrRequestTooLarge, maxProducedRows)
		}
		if !d.ok() {
			break
		}
	}
	d.skipTags()
	if !d.done() {
		return 0, fmt.Errorf("%w: Produce version %d", ErrMalformed, version)
	}
	return rows, nil
}

var (
	errUnknownID     = errors.New("kafka: no topic of this id")
	errAcks          = errors.New("kafka: acks must be 0, 1 or -1")
	errTransactional = errors.New("kafka: transactions are not supported yet")
	errVersion       = errors.New("kafka: Produce below version 3 is not supported")
)

// refuseProduce says what is wrong with a request as a whole.
func refuseProduce(version, acks int16, transactional []byte) error {
	switch {
	case version < minProduce:
		return errVersion
	case acks < -1 || acks > 1:
		return errAcks
	case transactional != nil:
		return errTransactional
	}
	return nil
}

// checkProduced checks what depends on the version of the request; the engine checks the batch itself. A partition
// gets exactly one batch, as Apache Kafka insists on since version 3.
func checkProduced(records []byte, version int16) error {
	if len(records) < batch.HeaderBytes {
		return fmt.Errorf("%w: a partition without a record batch", batch.ErrInvalidRecord)
	}
	length := int64(int32(binary.BigEndian.Uint32(records[8:])))
	if length+batch.PrefixBytes < int64(len(records)) {
		return fmt.Errorf("%w: more than one record batch for a partition", batch.ErrInvalidRecord)
	}
	view := batch.View(records)
	if view.Transactional() {
		return errTransactional
	}
	if version < 7 && view.Codec() == batch.Zstd {
		return fmt.Errorf("%w: zstd needs Produce version 7", batch.ErrUnsupportedCodec)
	}
	return nil
}

// producedTopic reads a topic's name or id and begins its row of the answer.
func (c *conn) producedTopic(d *decoder, p *produced) (topic meta.Topic, known bool) {
	row := producedTopic{lo: len(p.rows), hi: len(p.rows)}
	if p.version >= 13 {
		row.id = d.topicID()
		topic, known = c.server.engine.TopicByID(row.id)
	} else {
		from := len(p.names)
		p.names = append(p.names, d.str()...)
		row.name = p.names[from:len(p.names):len(p.names)]
		topic, known = c.server.engine.Topic(string(row.name))
	}
	p.topics = append(p.topics, row)
	return topic, known
}

// row adds the next partition, reusing the pooled one.
func (p *produced) row(index int32) *producedRow {
	n := len(p.rows)
	if n < cap(p.rows) {
		p.rows = p.rows[:n+1]
	} else {
		p.rows = append(p.rows, nil)
	}
	row := p.rows[n]
	if row == nil {
		row = &producedRow{of: p}
		row.done = row.finish
		p.rows[n] = row
	}
	row.index = index
	p.undone.Add(1)
	return row
}

// finish takes the engine's answer for one partition, in whatever goroutine.
func (r *producedRow) finish(a engine.Appended) {
	r.appended = a
	if a.Err != nil {
		r.of.failed.Store(true)
	}
	r.of.finish()
}

// finish counts down; the last one completes the answer. Without acknowledgement nobody hears of an error, so the
// connection is closed then, as in Apache Kafka, that the client may learn from fresh metadata what is wrong.
func (p *produced) finish() {
	if p.undone.Add(-1) > 0 {
		return
	}
	if p.place != nil {
		p.conn.out.complete(p.place, 64*len(p.rows))
		return
	}
	if p.failed.Load() {
		p.conn.stop(errRude)
	}
	p.recycle()
}

// producedKept is the number of rows that a pooled request may keep.
const producedKept = 1024

func (p *produced) recycle() {
	p.conn, p.place = nil, nil
	p.failed.Store(false)
	if cap(p.rows) > producedKept {
		return
	}
	for _, row := range p.rows {
		row.appended = engine.Appended{}
	}
	clear(p.topics)
	p.names, p.topics, p.rows = p.names[:0], p.topics[:0], p.rows[:0]
	producedPool.Put(p)
}

func (p *produced) encode(e *encoder, version int16) {
	e.array(len(p.topics))
	for _, t := range p.topics {
		if version >= 13 {
			e.topicID(t.id)
		} else {
			e.str(t.name)
		}
		e.array(t.hi - t.lo)
		for _, row := range p.rows[t.lo:t.hi] {
			row.encode(e, version)
		}
		e.noTags()
	}
	if version >= 1 {
		e.int32(0) // throttle
	}
	e.noTags()
	p.recycle()
}

func (r *producedRow) encode(e *encoder, version int16) {
	a := &r.appended
	code := produceCode(a.Err, version)
	if a.Err != nil {
		a.BaseOffset, a.LogAppendTime, a.LogStart = -1, -1, -1
	}
	e.int32(r.index)
	e.int16(code)
	e.int64(a.BaseOffset)
	if version >= 2 {
		e.int64(a.LogAppendTime)
	}
	if version >= 5 {
		e.int64(a.LogStart)
	}
	if version >= 8 {
		e.array(0) // record errors: batches are refused as a whole
		if a.Err != nil {
			e.nullableStr(a.Err.Error())
		} else {
			e.nullableStr("")
		}
	}
	e.noTags()
}

// produceCode is the code of an append's error in the words of the request's version.
func produceCode(err error, version int16) Code {
	switch {
	case err == nil:
		return none
	case errors.Is(err, errUnknownID):
		return unknownTopicID
	case errors.Is(err, errAcks):
		return invalidRequiredAcks
	case errors.Is(err, errVersion), errors.Is(err, errTransactional):
		return unsupportedVersion
	}
	code := dataCode(err)
	if code == kafkaStorageError && version < 4 { // KIP-112 came with version 4
		return notLeaderOrFollower
	}
	return code
}

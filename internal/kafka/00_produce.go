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

// Produce (API key 0), versions 0–13. Requests of versions 0–2, which carry message formats 0 and 1, are answered with
// UNSUPPORTED_VERSION. The request is decoded by hand. Its record bytes alias the frame until the engine has copied
// them, or has taken over the frame's buffer if the batch fills most of it.
//
//	request   transactional_id (3+) acks timeout_ms [topics: name (–12) | id (13+)
//	          [partitions: index records]]
//	response  [topics: name | id [partitions: index error base_offset log_append_time (2+) log_start (5+)
//	          [record_errors] error_message (8+)]] throttle_ms (1+)
//
// Deviations from Apache Kafka, explained in docs/kafka-differences.md:
//
//   - acks=1 waits for the disk as acks=all does, and timeout_ms is not used.
//   - Transactions are refused with UNSUPPORTED_VERSION.
//   - A batch is refused as a whole, so that record_errors is empty.
//   - If a request names a partition twice, both batches are appended.
//   - A request may have at most 65,536 topics and partitions.

// produceRequest is a Produce request while its batches are appended, and the body of its response. It is pooled: it
// returns to the pool when its response is encoded or, with acks=0, when its last append has ended.
//
// The handler fills names, topics and partitions; each append then writes only its own element of partitions. pending
// is the number of appends that have not ended, plus 1 until the handler has started all of them. The goroutine that
// decreases pending to 0 owns the request.
type produceRequest struct {
	conn       *conn
	response   *response // nil with acks=0
	names      []byte    // topic names, copied from the frame so that the frame can be released
	topics     []produceTopic
	partitions []*producePartition
	version    int16
	pending    atomic.Int32
	failed     atomic.Bool // set when an append has failed
}

// produceTopic is one topic of a Produce request.
type produceTopic struct {
	name   []byte       // part of produceRequest.names; set in versions 0–12
	id     meta.TopicID // set from version 13 on
	lo, hi int          // its partitions are produceRequest.partitions[lo:hi]
}

// producePartition is one partition of a Produce request, and the result of its append.
type producePartition struct {
	request *produceRequest
	index   int32
	result  engine.Appended
	done    func(engine.Appended) // the method value finish, kept so that a pooled request allocates nothing
}

var produceRequestPool = sync.Pool{New: func() any { return new(produceRequest) }}

// produce handles one Produce request and takes ownership of its frame. It returns an error, which must end the
// connection, for a malformed request. It blocks while the queue of responses is full.
//
// If inline is true, the calling goroutine also commits the request, where the journal allows it, and writes the
// response (see inlineCommit); only the connection's reader may pass true.
func (c *conn) produce(f *frame, inline bool) error {
	version := f.version
	d := requestDecoder{rest: f.body, flexible: version >= f.api.flexible}
	var transactional []byte
	if version >= 3 {
		transactional = d.nullableStr()
	}
	acks := d.int16()
	d.int32() // timeout_ms: there are no replicas to wait for

	p := produceRequestPool.Get().(*produceRequest)
	p.conn, p.version = c, version
	p.pending.Store(1)
	var resp *response
	if acks != 0 {
		resp = c.newResponse(f, p)
		resp.inline = inline
		p.response = resp
	}
	// The frame is checked to its end before the first batch is appended, so that nothing of a malformed request is
	// appended.
	rows, err := checkProduceFrame(d, version)
	if err != nil {
		c.releaseFrame(f)
		return err
	}
	if resp != nil && !c.responses.reserve(resp) {
		c.releaseFrame(f)
		return nil // the connection has failed
	}

	refusal := checkProduceRequest(version, acks)
	in := engine.Transaction{ID: string(transactional), Begin: version >= minProduceV2}
	for range d.array(2) {
		topic, known := c.readProduceTopic(&d, p)
		for range d.array(5) {
			row := p.addPartition(d.int32())
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
				records, err = checkProduceBatch(records, version)
			}
			inTransaction := err == nil && batch.View(records).Transactional()
			if inTransaction && transactional == nil {
				err = errNoTransactionalID
			}
			if err != nil {
				row.done(engine.Appended{Err: err})
				continue
			}
			to := engine.Partition{Topic: topic.ID, Index: row.index}
			if rows == 2 && f.mostly(records) { // one topic with one partition
				// The log takes over the frame's buffer, so the rest of the frame must not be read any more.
				p.topics[0].hi = 1
				size, budgetedBytes := f.size, f.budgetedBytes
				c.append(to, records, f.takeBuffer(), in, inTransaction, row.done)
				c.releaseBytes(size, budgetedBytes)
				p.finish()
				c.commitProduce(resp, inline)
				return nil
			}
			c.append(to, records, nil, in, inTransaction, row.done)
		}
		d.skipTags()
		p.topics[len(p.topics)-1].hi = len(p.partitions)
	}
	c.releaseFrame(f)
	p.finish()
	c.commitProduce(resp, inline)
	return nil
}

// minProduceV2 is the first version of Produce that may begin a transaction, and add partitions to it (KIP-890).
const minProduceV2 = 12

// append passes a batch to the engine: as a part of the transaction in, if it is transactional.
func (c *conn) append(to engine.Partition, records []byte, memory batch.Memory, in engine.Transaction, transactional bool, done func(engine.Appended)) {
	if transactional {
		c.server.engine.AppendInTransaction(to, records, memory, in, done)
		return
	}
	c.server.engine.AppendDeferred(to, records, memory, done)
}

// commitProduce starts the commit of the batches that a request has appended. If inline is true, the calling goroutine
// commits and then writes the response; else commitProduce wakes the journal's committing goroutine and returns. resp
// is nil with acks=0.
func (c *conn) commitProduce(resp *response, inline bool) {
	if !inline || resp == nil {
		c.server.engine.CommitSoon()
		return
	}
	c.server.engine.CommitInline()
	c.inlineCommit.committed(c.hasPipelinedRequest())
	c.responses.flushInline(resp)
}

// maxProduceRows is the largest number of topics and partitions in one request. Without it, a frame full of empty
// partitions would cost many times its own size in memory.
const maxProduceRows = 1 << 16

// checkProduceFrame checks that the rest of a Produce request, from its topics on, is well-formed, and returns the
// number of topics plus partitions in it. It reads from a copy of d, so that the caller's decoder stays at the topics.
// Errors match ErrMalformed or ErrRequestTooLarge.
func checkProduceFrame(d requestDecoder, version int16) (rows int, _ error) {
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
			if rows++; rows > maxProduceRows || !d.ok() {
				break
			}
		}
		d.skipTags()
		if rows++; rows > maxProduceRows {
			return 0, fmt.Errorf("%w: Produce to more than %d partitions", ErrRequestTooLarge, maxProduceRows)
		}
		if !d.ok() {
			break
		}
	}
	d.skipTags()
	if !d.ok() { // bytes after the request are ignored (docs/kafka-traps.md, trap 22)
		return 0, fmt.Errorf("%w: Produce version %d", ErrMalformed, version)
	}
	return rows, nil
}

// Reasons to refuse a request or one partition of it; produceCode maps them to Kafka's codes.
var (
	errUnknownID         = errors.New("kafka: no topic of this id")
	errAcks              = errors.New("kafka: acks must be 0, 1 or -1")
	errNoTransactionalID = errors.New("kafka: a transactional batch in a request without a transactional id")
	errVersion           = errors.New("kafka: Produce below version 3 is not supported")
)

// checkProduceRequest returns the error with which every partition of a request is refused, or nil if the request is
// acceptable.
func checkProduceRequest(version, acks int16) error {
	switch {
	case version < minProduce:
		return errVersion
	case acks < -1 || acks > 1:
		return errAcks
	}
	return nil
}

// checkProduceBatch checks that records hold exactly one batch, as Apache Kafka demands since version 3, and that this
// version of Produce may carry it. It returns that batch. As in Apache Kafka, bytes after it that are no whole batch are
// ignored. The engine checks the batch itself (docs/kafka-traps.md, trap 23).
func checkProduceBatch(records []byte, version int16) (batch.View, error) {
	n, err := wholeBatch(records)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: a partition without a record batch", batch.ErrInvalidRecord)
	}
	if records[batchMagicAt] != batch.Magic {
		return nil, fmt.Errorf("%w: magic %d is no longer taken", batch.ErrInvalidRecord, records[batchMagicAt])
	}
	view := batch.View(records[:n:n])
	if version < 7 && view.Codec() == batch.Zstd {
		return nil, fmt.Errorf("%w: zstd needs Produce version 7", batch.ErrUnsupportedCodec)
	}
	switch more, err := wholeBatch(records[n:]); {
	case err != nil:
		return nil, err
	case more > 0:
		return nil, fmt.Errorf("%w: more than one record batch for a partition", batch.ErrInvalidRecord)
	case view.BaseOffset() != 0:
		return nil, fmt.Errorf("%w: base offset %d, a producer's is 0", batch.ErrInvalidRecord, view.BaseOffset())
	}
	return view, nil
}

// batchMagicAt is the position of a batch's format in it, which is the same in all formats.
const batchMagicAt = 16

// wholeBatch returns the length of the batch of any format at the beginning of b, or 0 if b ends before the batch does.
// An impossible length and an unknown format are errors that match batch.ErrCorrupt.
func wholeBatch(b []byte) (int, error) {
	if len(b) < batch.PrefixBytes {
		return 0, nil
	}
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	if length < minMessageBytes {
		return 0, fmt.Errorf("%w: a batch of %d bytes", batch.ErrCorrupt, length)
	}
	if len(b) <= batchMagicAt {
		return 0, nil
	}
	if b[batchMagicAt] > batch.Magic {
		return 0, fmt.Errorf("%w: magic %d", batch.ErrCorrupt, int8(b[batchMagicAt]))
	}
	if length+batch.PrefixBytes > int64(len(b)) {
		return 0, nil
	}
	if b[batchMagicAt] == batch.Magic && length+batch.PrefixBytes < batch.HeaderBytes {
		return 0, fmt.Errorf("%w: a batch of %d bytes", batch.ErrCorrupt, length)
	}
	return int(length + batch.PrefixBytes), nil
}

// minMessageBytes is the least length that the length field of a message or batch can state: that of a message of
// format 0 without a key and a value.
const minMessageBytes = 14

// readProduceTopic decodes a topic's name or id, appends the topic to p.topics, and looks it up. known is false if
// there is no such topic.
func (c *conn) readProduceTopic(d *requestDecoder, p *produceRequest) (topic meta.Topic, known bool) {
	row := produceTopic{lo: len(p.partitions), hi: len(p.partitions)}
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

// addPartition appends a partition to p.partitions, counts its append in pending, and returns the new element. It uses
// an element of an earlier pooled request if there is one.
func (p *produceRequest) addPartition(index int32) *producePartition {
	n := len(p.partitions)
	if n < cap(p.partitions) {
		p.partitions = p.partitions[:n+1]
	} else {
		p.partitions = append(p.partitions, nil)
	}
	row := p.partitions[n]
	if row == nil {
		row = &producePartition{request: p}
		row.done = row.finish
		p.partitions[n] = row
	}
	row.index = index
	p.pending.Add(1)
	return row
}

// finish stores the result of the partition's append. The engine calls it in any goroutine, possibly in the handler's
// before the call that appends has returned.
func (r *producePartition) finish(a engine.Appended) {
	r.result = a
	if a.Err != nil {
		r.request.failed.Store(true)
	}
	r.request.finish()
}

// finish counts the end of one append, or of the handler. The last call completes the response. With acks=0 there is no
// response; if an append has failed, the last call then ends the connection, as Apache Kafka does, so that the client
// notices and refreshes its metadata.
func (p *produceRequest) finish() {
	if p.pending.Add(-1) > 0 {
		return
	}
	if p.response != nil {
		p.conn.responses.complete(p.response, 64*len(p.partitions))
		return
	}
	if p.failed.Load() {
		p.conn.stop(errUnackedProduceFailed)
	}
	p.recycle()
}

// maxPooledProducePartitions is the capacity of partitions up to which a produceRequest is pooled.
const maxPooledProducePartitions = 1024

// recycle returns p to its pool. Nothing may use p afterwards.
func (p *produceRequest) recycle() {
	p.conn, p.response = nil, nil
	p.failed.Store(false)
	if cap(p.partitions) > maxPooledProducePartitions {
		return
	}
	for _, row := range p.partitions {
		row.result = engine.Appended{}
	}
	clear(p.topics)
	p.names, p.topics, p.partitions = p.names[:0], p.topics[:0], p.partitions[:0]
	produceRequestPool.Put(p)
}

// encode encodes the body of the response, and then recycles p. It implements responseBody.
func (p *produceRequest) encode(e *responseEncoder, version int16) {
	e.array(len(p.topics))
	for _, t := range p.topics {
		if version >= 13 {
			e.topicID(t.id)
		} else {
			e.str(t.name)
		}
		e.array(t.hi - t.lo)
		for _, row := range p.partitions[t.lo:t.hi] {
			row.encode(e, version)
		}
		e.noTags()
	}
	if version >= 1 {
		e.int32(0) // throttle_ms
	}
	e.noTags()
	p.recycle()
}

// encode encodes one partition's row of the response.
func (r *producePartition) encode(e *responseEncoder, version int16) {
	a := &r.result
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
		e.array(0) // record_errors: empty, because a batch is refused as a whole
		if a.Err != nil {
			e.nullableStr(a.Err.Error())
		} else {
			e.nullableStr("")
		}
	}
	e.noTags()
}

// produceCode returns Kafka's code for the error of an append, in a response of the given version.
func produceCode(err error, version int16) Code {
	switch {
	case err == nil:
		return none
	case errors.Is(err, errUnknownID):
		return unknownTopicID
	case errors.Is(err, errAcks):
		return invalidRequiredAcks
	case errors.Is(err, errNoTransactionalID):
		return transactionalIDAuthorizationFailed // as Apache Kafka answers, with and without an authorizer
	case errors.Is(err, errVersion):
		return unsupportedVersion
	}
	code := dataCode(err)
	if code == concurrentTransactions && version < minProduceV2 { // older clients do not expect it
		return notEnoughReplicas
	}
	if code == transactionAbortable && version < 11 { // TRANSACTION_ABORTABLE came with version 11 (KIP-890)
		return invalidTxnState
	}
	if code == kafkaStorageError && version < 4 { // KAFKA_STORAGE_ERROR came with version 4 (KIP-112)
		return notLeaderOrFollower
	}
	return code
}

package logclient

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Some batches hold kgo up in a way that a decompressor cannot mend: those that are not compressed and have other bytes than
// records, and those that claim more records than there can be stand-ins. kgo gets nothing new from such a batch, says nothing, and
// fetches it again. Then passing, to which kgo tells each batch, sees the same batch come again, and the connections of the client
// look into the responses: they put a single stand-in, at the last offset of its batch, in place of all records that cannot be
// decoded. The value of its header is the offset of the first of them.

// held is what passing knows of the batches of a partition that came last.
type held struct {
	response uint64 // number of the response with the last batch
	first    kgo.FetchBatchMetrics
	again    int  // number of responses in a row that began with the same batch and brought no record
	fresh    bool // while watched: a record came since
	watched  bool // again is above 0, or lost is set: sawRecord is to look

	lost bool  // kgo has gone past a batch of which it has decoded nothing
	next int64 // while lost: the offset after the record that came last; 0 if none has come since the response began
}

// watch makes sawRecord look at the records of the partition, or not. p.mu must be held.
func (p *passing) watch(h *held, on bool) {
	if h.watched == on {
		return
	}
	h.watched = on
	if on {
		p.watched.Add(1)
	} else {
		p.watched.Add(-1)
	}
}

const (
	// heldUpAfter is how many times a batch must come again before responses are looked into.
	heldUpAfter = 2
	// lookFor is the number of responses that are looked into after that, and after each batch that cannot be decoded: where
	// there is one there may be more.
	lookFor = 1000
)

// OnFetchBatchRead implements kgo.HookFetchBatchRead: kgo calls it for each batch, before it calls OnFetchRecordBuffered for
// the batch's records.
func (p *passing) OnFetchBatchRead(_ kgo.BrokerMetadata, topic string, number int32, m kgo.FetchBatchMetrics) {
	at, response := partition{topic, number}, p.responses.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[at]
	if h == nil {
		if len(p.held) >= maxRemembered {
			clear(p.held)
			p.watched.Store(0)
		}
		h = &held{}
		p.held[at] = h
	}
	if m.NumRecords == 0 && m.CompressedBytes > 0 {
		h.lost = true // or it comes again
	}
	if h.response != response { // the first batch of a response is the one that may come again
		h.response = response
		if h.first == m && !h.fresh {
			h.again++
		} else {
			h.first, h.fresh, h.again = m, false, 0
		}
	}
	p.watch(h, h.again > 0 || h.lost)
	if h.again >= heldUpAfter {
		p.lookUntil.Store(response + lookFor)
	}
}

// maxBareErrors is how many errors of one batch that isBare knows are expected before it is passed over, and more.
const maxBareErrors = 4 * heldUpAfter

// isBare reports whether kgo's error in a fetch says that a batch claims records and has no bytes of any. There is no type for it. When
// the batch has come a few times more, it is passed over.
func isBare(err error) bool {
	return strings.Contains(err.Error(), "claimed records with no record bytes")
}

// sawRecord notes that a record came. If batches were lost before it, it logs where. kgo goes past such a batch by itself if
// another is behind it in the same response.
func (p *passing) sawRecord(r *kgo.Record) {
	if p.watched.Load() == 0 {
		return
	}
	at := partition{r.Topic, r.Partition}
	p.mu.Lock()
	h := p.held[at]
	if h == nil || !h.watched {
		p.mu.Unlock()
		return
	}
	h.fresh = true
	lost := int64(-1)
	switch {
	case !h.lost || r.Offset == h.next:
	case h.next > 0:
		lost = h.next
	default:
		lost = r.Offset - 1
	}
	if h.next = r.Offset + 1; lost >= 0 {
		h.lost, h.next = false, 0
		p.watch(h, h.again > 0)
	}
	p.mu.Unlock()
	if lost >= 0 && !Undecodable(r) {
		p.say(at, lost)
	}
}

// lookingConn is a connection of a Kafka client to a broker, which puts stand-ins into the responses that are looked into. It knows from the requests which responses are of fetches. One
// goroutine may read while another writes.
type lookingConn struct {
	net.Conn
	passing *passing
	closing func() bool // keeps the end of the client's Life from closing Conn; nil if it does not

	sent frameScanner // of the writer

	// Of the reader: the frame that is passed on, and bytes to be read before those of Conn.
	received frameScanner
	ready    []byte

	mu      sync.Mutex
	fetches map[int32]int16 // versions of the Fetch requests that are not answered, by correlation id
}

// newLookingConn returns a connection over conn, whose client has the hooks of p.
func newLookingConn(conn net.Conn, p *passing) *lookingConn {
	return &lookingConn{Conn: conn, passing: p, fetches: map[int32]int16{}}
}

// Close implements net.Conn.
func (c *lookingConn) Close() error {
	if c.closing != nil {
		c.closing()
	}
	return c.Conn.Close()
}

// Frames of requests and responses begin with their size, in 4 bytes. After that a request has the API key and version, in
// 2 bytes each, and both have the correlation id, in 4 bytes.
const (
	requestHeadBytes  = 12
	responseHeadBytes = 8
	fetchKey          = 1
)

// frameScanner finds the beginnings of frames in a stream.
type frameScanner struct {
	head []byte // the beginning of a frame, until it has as many bytes as are wanted
	left int    // bytes of the present frame that are still to come
}

// next returns the first bytes of the next frame once all of them have come, and the rest of b.
func (s *frameScanner) next(b []byte, headBytes int) (head, rest []byte) {
	skipped := min(s.left, len(b))
	s.left -= skipped
	b = b[skipped:]
	n := min(headBytes-len(s.head), len(b))
	s.head = append(s.head, b[:n]...)
	if len(s.head) < headBytes {
		return nil, nil
	}
	head, s.head = s.head, nil
	s.left = max(4+int(binary.BigEndian.Uint32(head))-headBytes, 0) // a broker that announces less sends what no client reads
	return head, b[n:]
}

// Write implements net.Conn.
func (c *lookingConn) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		var head []byte
		if head, rest = c.sent.next(rest, requestHeadBytes); head != nil && binary.BigEndian.Uint16(head[4:]) == fetchKey {
			c.mu.Lock()
			c.fetches[int32(binary.BigEndian.Uint32(head[8:]))] = int16(binary.BigEndian.Uint16(head[6:]))
			c.mu.Unlock()
		}
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *lookingConn) Read(b []byte) (int, error) {
	if len(c.ready) == 0 && c.received.left == 0 && len(c.received.head) == 0 && c.passing.looks() {
		if err := c.look(); err != nil {
			return 0, err
		}
	}
	if len(c.ready) > 0 {
		n := copy(b, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		var head []byte
		if head, rest = c.received.next(rest, responseHeadBytes); head != nil {
			if _, ok := c.fetched(head); ok {
				c.passing.responses.Add(1)
			}
		}
	}
	return n, err
}

// fetched returns the version of the Fetch request to which a response with this head is the answer, if it is one.
func (c *lookingConn) fetched(head []byte) (version int16, ok bool) {
	id := int32(binary.BigEndian.Uint32(head[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	version, ok = c.fetches[id]
	delete(c.fetches, id)
	return version, ok
}

// look reads the next response whole, if it is of a fetch, and sets ready to what the client is to read.
func (c *lookingConn) look() error {
	frame := make([]byte, responseHeadBytes)
	if _, err := io.ReadFull(c.Conn, frame); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(frame)) + 4
	version, ok := c.fetched(frame)
	if !ok || size < responseHeadBytes || size > maxLookedIntoBytes {
		c.ready, c.received.left = frame, max(size-responseHeadBytes, 0)
		return nil
	}
	c.passing.responses.Add(1)
	frame = append(frame, make([]byte, size-responseHeadBytes)...)
	if _, err := io.ReadFull(c.Conn, frame[responseHeadBytes:]); err != nil {
		return err
	}
	c.ready = c.passing.mend(frame, version)
	return nil
}

// maxLookedIntoBytes is the size of the largest response that is looked into. Clients refuse larger ones.
const maxLookedIntoBytes = 1 << 30

// looks reports whether the next response is to be looked into.
func (p *passing) looks() bool { return p.responses.Load() < p.lookUntil.Load() }

// mend returns the frame of a Fetch response with a stand-in in each batch that cannot be decoded. If
// there is none, or the response cannot be read, it returns frame.
func (p *passing) mend(frame []byte, version int16) []byte {
	var resp kmsg.FetchResponse
	resp.SetVersion(version)
	bodyAt := responseHeadBytes
	if resp.IsFlexible() {
		bodyAt++ // no tags: no broker has any in the header
	}
	if len(frame) < bodyAt || resp.IsFlexible() && frame[bodyAt-1] != 0 || resp.ReadFrom(frame[bodyAt:]) != nil {
		return frame
	}
	mended := false
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			r := &resp.Topics[i].Partitions[j]
			if batches, ok := p.mendBatches(r.RecordBatches); ok {
				r.RecordBatches, mended = batches, true
			}
		}
	}
	if !mended {
		return frame
	}
	p.lookUntil.Store(p.responses.Load() + lookFor)
	frame = resp.AppendTo(frame[:bodyAt:bodyAt])
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// mendBatches does for the batches of a partition what mend does for a response. It reports whether it has replaced any.
func (p *passing) mendBatches(in []byte) (out []byte, mended bool) {
	const minBatchBytes = 61
	for len(in) >= minBatchBytes && in[16] == 2 {
		size := int64(int32(binary.BigEndian.Uint32(in[8:]))) + 12
		var b kmsg.RecordBatch
		if size < minBatchBytes || size > int64(len(in)) || b.ReadFrom(in[:size]) != nil {
			break // not whole, or bad in a way that kgo reports
		}
		if records, n, ok := p.decode(&b); ok {
			out = append(out, in[:size]...)
		} else {
			out, mended = append(out, withStandIn(&b, records, n)...), true
		}
		in = in[size:]
	}
	return append(out, in...), mended
}

// decode returns the n records that a batch begins with, not compressed, up to the first that cannot be decoded. ok reports
// whether these are as many as it claims.
func (p *passing) decode(b *kmsg.RecordBatch) (records []byte, n int32, ok bool) {
	block := b.Records
	if codec := kgo.CompressionCodecType(b.Attributes & 7); codec != 0 {
		var err error
		if block, err = p.Decompressor.Decompress(block, codec); err != nil {
			return nil, 0, b.NumRecords == 0
		}
	}
	rest := block
	for n < b.NumRecords {
		length, used := binary.Varint(rest)
		var r kmsg.Record
		if used <= 0 || length < minRecordBytes || length > int64(len(rest)-used) || r.ReadFrom(rest[:used+int(length)]) != nil {
			break
		}
		rest = rest[used+int(length):]
		n++
	}
	return block[:len(block)-len(rest)], n, n >= b.NumRecords
}

// withStandIn returns a batch in place of b with n records, which b begins with, and a stand-in for the others, at the last
// offset of b.
func withStandIn(b *kmsg.RecordBatch, records []byte, n int32) []byte {
	s := *b
	s.Attributes &^= 7 | 1<<5 // neither compressed nor of control records
	s.NumRecords = n + 1
	first := binary.BigEndian.AppendUint64(nil, uint64(b.FirstOffset+int64(n)))
	s.Records = appendStandIn(records[:len(records):len(records)], int64(b.LastOffsetDelta), first)
	out := s.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

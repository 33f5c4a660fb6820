package batch

import (
	"encoding/binary"
	"iter"
)

// Record is one record of a batch. Key and Value are nil when null. All slices alias the batch, or the memory its
// records were decompressed to.
//
//	varint length of what follows | int8 attributes (0) | varlong timestamp delta | varint offset delta
//	varint key length (-1: null) | key | varint value length (-1: null) | value
//	varint header count | headers: varint key length | key | varint value length (-1: null) | value
type Record struct {
	Offset    int64
	Timestamp int64 // ms since the epoch: the append's under log append time, else the producer's
	Key       []byte
	Value     []byte

	headers     []byte
	headerCount int
}

// Header is one header of a record. Value is nil when null.
type Header struct {
	Key   string
	Value []byte
}

// HeaderCount is the number of headers.
func (r Record) HeaderCount() int { return r.headerCount }

// Headers yields the headers, key and value, in order. The slices alias the record.
func (r Record) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		c := cursor{b: r.headers}
		for range r.headerCount {
			if key, value := c.bytes(), c.bytes(); c.failed || !yield(key, value) {
				return
			}
		}
	}
}

// Records yields the records of a batch in order. Compressed ones are decompressed into new memory, to at most
// maxDecompressedBytes (ErrBomb past it). An error ends it; the records before it are good. v must have passed Check.
func Records(v View, maxDecompressedBytes int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		block, err := decompress(v.Codec(), v.Payload(), maxDecompressedBytes)
		if err != nil {
			yield(Record{}, err)
			return
		}
		c := cursor{b: block}
		for i := range v.Count() {
			at := c.at
			r, ok := c.record(v)
			if !ok {
				yield(Record{}, invalid(ErrInvalidRecord, at, "record %d of %d does not decode", i, v.Count()))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if c.at != len(block) {
			yield(Record{}, invalid(ErrInvalidRecord, c.at, "%d bytes after the last record", len(block)-c.at))
		}
	}
}

// cursor reads record fields. A read past the end sets failed and gives zero values from then on.
type cursor struct {
	b      []byte
	at     int
	failed bool
}

func (c *cursor) record(v View) (Record, bool) {
	length := c.varint()
	if c.failed || length < minRecordBytes-1 || length > int64(len(c.b)-c.at) {
		return Record{}, false
	}
	body := cursor{b: c.b[:c.at+int(length)], at: c.at}
	c.at += int(length)

	body.at++ // attributes: no bit of it has a meaning
	timestampDelta, offsetDelta := body.varint(), body.varint()
	r := Record{Offset: v.BaseOffset() + offsetDelta, Timestamp: v.FirstTimestamp() + timestampDelta}
	if v.LogAppendTime() {
		r.Timestamp = v.MaxTimestamp()
	}
	r.Key, r.Value = body.bytes(), body.bytes()
	n := body.varint()
	if body.failed || offsetDelta < 0 || offsetDelta > int64(v.LastOffsetDelta()) || n < 0 || n > int64(len(body.b)-body.at) {
		return Record{}, false
	}
	r.headerCount, r.headers = int(n), body.b[body.at:]
	for range n { // so that Headers can't fail
		keyLength := body.varint()
		body.skip(keyLength)
		if valueLength := body.varint(); valueLength >= 0 {
			body.skip(valueLength)
		}
		if body.failed || keyLength < 0 {
			return Record{}, false
		}
	}
	return r, body.at == len(body.b)
}

func (c *cursor) varint() int64 {
	x, n := binary.Varint(c.b[c.at:])
	if n <= 0 {
		c.failed = true
		return 0
	}
	c.at += n
	return x
}

func (c *cursor) skip(n int64) {
	if n < 0 || n > int64(len(c.b)-c.at) {
		c.failed = true
		return
	}
	c.at += int(n)
}

// bytes reads a length and as many bytes; a negative length is null.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n < 0 || c.failed {
		return nil
	}
	start := c.at
	if c.skip(n); c.failed {
		return nil
	}
	return c.b[start:c.at:c.at]
}

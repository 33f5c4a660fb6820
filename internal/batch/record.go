package batch

import (
	"encoding/binary"
	"iter"
)

// Record is one record of a batch. Key and Value are nil if they are null. All slices are parts of the batch, or of the
// memory to which its records were decompressed.
//
//	varint length of what follows | int8 attributes (0) | varlong timestamp delta | varint offset delta
//	varint key length (-1: null) | key | varint value length (-1: null) | value
//	varint header count | headers: varint key length | key | varint value length (-1: null) | value
type Record struct {
	Offset int64
	// Timestamp is in milliseconds since the Unix epoch: the time of the append under log append time, and the
	// producer's timestamp otherwise.
	Timestamp int64
	Key       []byte
	Value     []byte

	headers     []byte
	headerCount int
}

// Header is one header of a record. Value is nil if it is null.
type Header struct {
	Key   string
	Value []byte
}

// HeaderCount returns the number of headers of the record.
func (r Record) HeaderCount() int { return r.headerCount }

// Headers yields key and value of each header, in order. The slices are parts of the record's memory.
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

// Records yields the records of a batch in order. Compressed records are decompressed into new memory; if they are
// longer than maxDecompressedBytes, the error matches ErrBomb. After an error the iteration ends; the records before it
// are valid. v must have passed Check.
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

// cursor reads the fields of records. A read past the end sets failed, and all later reads return zero values.
type cursor struct {
	b      []byte
	at     int
	failed bool
}

// record reads the next record of v. It returns false if the record is invalid.
func (c *cursor) record(v View) (Record, bool) {
	length := c.varint()
	if c.failed || length < minRecordBytes-1 || length > int64(len(c.b)-c.at) {
		return Record{}, false
	}
	body := cursor{b: c.b[:c.at+int(length)], at: c.at}
	c.at += int(length)

	body.at++ // no bit of the attributes has a meaning
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
	for range n { // the headers are checked here, so that Headers cannot fail
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

// bytes reads a length and as many bytes as it states. A negative length means null, for which bytes returns nil.
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

package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// What can be wrong with a batch. Every error of Split, Check, Validate and Records is an *InvalidError that matches
// exactly one of these by errors.Is.
var (
	ErrCorrupt          = errors.New("batch: corrupt")                // length or checksum do not hold (CORRUPT_MESSAGE)
	ErrUnsupportedMagic = errors.New("batch: unsupported format")     // not magic 2 (UNSUPPORTED_FOR_MESSAGE_FORMAT)
	ErrTooLarge         = errors.New("batch: too large")              // over the caller's limit (MESSAGE_TOO_LARGE)
	ErrInvalidRecord    = errors.New("batch: invalid record")         // whole, but says what may not be said (INVALID_RECORD)
	ErrInvalidTimestamp = errors.New("batch: invalid timestamp")      // a timestamp type that clients may not use (INVALID_TIMESTAMP)
	ErrUnsupportedCodec = errors.New("batch: unsupported codec")      // UNSUPPORTED_COMPRESSION_TYPE
	ErrBomb             = errors.New("batch: decompresses too large") // over the caller's limit after decompression
)

// InvalidError says what is wrong with a batch and where: Position is in bytes from the start of the buffer given to
// Split, and of the batch elsewhere (of its decompressed records for errors in those).
type InvalidError struct {
	Err      error // one of the sentinels above
	Position int
	Reason   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%v at byte %d: %s", e.Err, e.Position, e.Reason)
}

func (e *InvalidError) Unwrap() error { return e.Err }

func invalid(kind error, position int, format string, args ...any) error {
	return &InvalidError{Err: kind, Position: position, Reason: fmt.Sprintf(format, args...)}
}

// Length returns the bytes of the batch that begins b, as its length field has it, and whether b is long enough to
// know and the length is possible at all. The batch may be longer than b.
func Length(b []byte) (int, bool) {
	if len(b) < PrefixBytes {
		return 0, false
	}
	length := int64(int32(binary.BigEndian.Uint32(b[lengthAt:]))) + PrefixBytes
	return int(length), length >= HeaderBytes
}

// Split yields the batches of a buffer in order, without a copy, by their length fields. Bytes that don't make a whole
// batch of format 2 end it with an error. It doesn't look at checksums: see Check and Validate.
func Split(b []byte) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		for at := 0; at < len(b); {
			v, err := first(b[at:], at)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(v, nil) {
				return
			}
			at += len(v)
		}
	}
}

// first is the batch that begins b, which stands at position at of the caller's buffer.
func first(b []byte, at int) (View, error) {
	if len(b) > magicAt && b[magicAt] != Magic {
		return nil, invalid(ErrUnsupportedMagic, at+magicAt, "magic %d, want %d", int8(b[magicAt]), Magic)
	}
	n, ok := Length(b)
	switch {
	case len(b) < PrefixBytes:
		return nil, invalid(ErrCorrupt, at, "%d bytes left, too few for a batch", len(b))
	case !ok:
		return nil, invalid(ErrCorrupt, at+lengthAt, "length field makes %d bytes, a batch has at least %d", n, HeaderBytes)
	case n > len(b):
		return nil, invalid(ErrCorrupt, at+lengthAt, "batch of %d bytes, %d are there", n, len(b))
	}
	return View(b[:n:n]), nil
}

// Check says whether v is one whole batch of format 2 with the right checksum: what must hold for stored bytes.
func Check(v View) error {
	whole, err := first(v, 0)
	if err != nil {
		return err
	}
	if len(whole) != len(v) {
		return invalid(ErrCorrupt, len(whole), "%d bytes after the batch", len(v)-len(whole))
	}
	if got, want := v.Checksum(), v.CRC(); got != want {
		return invalid(ErrCorrupt, crcAt, "checksum %08x, bytes have %08x", want, got)
	}
	if v.LastOffsetDelta() < 0 {
		return invalid(ErrCorrupt, lastOffsetDeltaAt, "last offset delta %d", v.LastOffsetDelta())
	}
	return nil
}

// minRecordBytes is the shortest record: length, attributes, both deltas, null key, null value, no headers.
const minRecordBytes = 7

// Validate says whether v is a batch that a client may append: Check, at most maxBytes long (no limit if ≤ 0), and a
// head that is consistent with itself. Like Kafka it refuses control batches and log append time from clients. The
// records aren't looked at (Kafka walks them; see docs/kafka-differences.md).
func Validate(v View, maxBytes int64) error {
	if maxBytes > 0 && int64(len(v)) > maxBytes {
		return invalid(ErrTooLarge, 0, "batch of %d bytes, at most %d are allowed", len(v), maxBytes)
	}
	if err := Check(v); err != nil {
		return err
	}
	count, attributes := v.Count(), v.Attributes()
	switch {
	case v.Codec() > Zstd:
		return invalid(ErrUnsupportedCodec, attributesAt, "codec %d", v.Codec())
	case v.LogAppendTime():
		return invalid(ErrInvalidTimestamp, attributesAt, "a producer may not set log append time")
	case v.Control():
		return invalid(ErrInvalidRecord, attributesAt, "a client may not write control records")
	case attributes&deleteHorizonFlag != 0:
		return invalid(ErrInvalidRecord, attributesAt, "a client may not set a delete horizon")
	case count <= 0:
		return invalid(ErrInvalidRecord, countAt, "%d records", count)
	case v.LastOffsetDelta() != count-1:
		return invalid(ErrInvalidRecord, lastOffsetDeltaAt, "last offset delta %d with %d records", v.LastOffsetDelta(), count)
	case v.Codec() == None && int64(count)*minRecordBytes > int64(len(v)-HeaderBytes):
		return invalid(ErrInvalidRecord, countAt, "%d records in %d bytes", count, len(v)-HeaderBytes)
	case v.ProducerID() < NoProducer:
		return invalid(ErrInvalidRecord, producerIDAt, "producer id %d", v.ProducerID())
	case v.ProducerID() >= 0 && v.BaseSequence() < 0:
		return invalid(ErrInvalidRecord, baseSequenceAt, "producer id %d with sequence %d", v.ProducerID(), v.BaseSequence())
	case v.ProducerID() >= 0 && v.ProducerEpoch() < 0:
		return invalid(ErrInvalidRecord, producerEpochAt, "producer id %d with epoch %d", v.ProducerID(), v.ProducerEpoch())
	case v.Transactional() && v.ProducerID() < 0:
		return invalid(ErrInvalidRecord, attributesAt, "transactional without a producer id")
	}
	return nil
}

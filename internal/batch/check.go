package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
)

// The kinds of errors of Split, Check, Validate and Records. Every error of these functions is an *InvalidError that
// matches exactly one of them by errors.Is. The comments name the error code of the Kafka protocol.
var (
	ErrCorrupt = errors.New("batch: corrupt") // length or checksum is wrong (CORRUPT_MESSAGE)
	// ErrUnsupportedMagic means that the format is not magic 2 (UNSUPPORTED_FOR_MESSAGE_FORMAT)
	ErrUnsupportedMagic = errors.New("batch: unsupported format")
	// ErrTooLarge means that the batch is larger than the caller's limit (MESSAGE_TOO_LARGE)
	ErrTooLarge = errors.New("batch: too large")
	// ErrInvalidRecord means that the batch is whole and has a field with a value that is not allowed (INVALID_RECORD).
	ErrInvalidRecord = errors.New("batch: invalid record")
	// ErrInvalidTimestamp means that the batch has timestamps that its topic does not allow (INVALID_TIMESTAMP). The
	// caller of Validate decides that.
	ErrInvalidTimestamp = errors.New("batch: invalid timestamp")
	// ErrUnsupportedCodec means that the compression is unknown (UNSUPPORTED_COMPRESSION_TYPE)
	ErrUnsupportedCodec = errors.New("batch: unsupported codec")
	// ErrBomb means that the records are larger than the caller's limit after decompression.
	ErrBomb = errors.New("batch: decompresses too large")
)

// InvalidError describes what is wrong with a batch and where. Position is in bytes: from the start of the buffer in
// errors of Split, from the start of the decompressed records in errors about records, and otherwise from the start of
// the batch.
type InvalidError struct {
	Err      error // one of the sentinels above
	Position int
	Reason   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%v at byte %d: %s", e.Err, e.Position, e.Reason)
}

func (e *InvalidError) Unwrap() error { return e.Err }

// invalid returns an *InvalidError that matches kind.
func invalid(kind error, position int, format string, args ...any) error {
	return &InvalidError{Err: kind, Position: position, Reason: fmt.Sprintf(format, args...)}
}

// Length returns the length in bytes of the batch at the beginning of b, as its length field states it. It returns
// false if b is shorter than PrefixBytes or the length is impossible. The batch may be longer than b.
func Length(b []byte) (int, bool) {
	if len(b) < PrefixBytes {
		return 0, false
	}
	length := int64(int32(binary.BigEndian.Uint32(b[lengthAt:]))) + PrefixBytes
	if length > math.MaxInt { // on 32-bit systems no slice can be that long
		return math.MaxInt, false
	}
	return int(length), length >= HeaderBytes
}

// Split yields the batches of a buffer in order, without copying them. If the next bytes are not a whole batch of
// format 2, it yields an error and ends. It does not verify checksums, as Check and Validate do.
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

// first returns the batch at the beginning of b. at is the position of b in the caller's buffer, for errors.
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

// Check returns nil if v is exactly one whole batch of format 2 with a correct checksum. Otherwise it returns an
// *InvalidError. Stored bytes must pass Check.
func Check(v View) error {
	if err := checkBytes(v); err != nil {
		return err
	}
	if v.LastOffsetDelta() < 0 {
		return invalid(ErrCorrupt, lastOffsetDeltaAt, "last offset delta %d", v.LastOffsetDelta())
	}
	return nil
}

// checkBytes returns nil if v is exactly one whole batch of format 2 with a correct checksum, whatever is in it.
func checkBytes(v View) error {
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
	return nil
}

// minRecordBytes is the length in bytes of the shortest record: its length, attributes, two deltas, null key, null
// value, and no headers.
const minRecordBytes = 7

// Validate returns nil if a client may append the batch v, and an *InvalidError otherwise. v must pass Check, must not
// be longer than maxBytes (if maxBytes > 0), and must have a consistent header. Like Apache Kafka, Validate refuses
// control batches from clients. It does not read the records, as ReadContents does.
func Validate(v View, maxBytes int64) error {
	if maxBytes > 0 && int64(len(v)) > maxBytes {
		return invalid(ErrTooLarge, 0, "batch of %d bytes, at most %d are allowed", len(v), maxBytes)
	}
	if err := checkBytes(v); err != nil {
		return err
	}
	count, attributes := v.Count(), v.Attributes()
	switch {
	case v.Codec() > Zstd:
		return invalid(ErrUnsupportedCodec, attributesAt, "codec %d", v.Codec())
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

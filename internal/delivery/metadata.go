package delivery

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// What a reaction commits beside a position is text, since Kafka's metadata is a string of at most 4096 bytes:
//
//	"tidings1:" base64url, without padding, of
//
//	+---------------+---------------+--------------------------+------------+
//	| epoch uvarint | count uvarint | count × (gap, run)       | CRC-32C    |
//	|               |               | uvarints                 | 4 bytes BE |
//	+---------------+---------------+--------------------------+------------+
//
// epoch is that of the last seek obeyed. The runs are the offsets done ahead, in order: gap offsets not done since the
// position or the last run, then run offsets done. The checksum covers all before it. "1" is the version: another
// layout gets another prefix.
const (
	metadataPrefix = "tidings1:"

	// MaxMetadataBytes is what Kafka allows (offset.metadata.max.bytes).
	MaxMetadataBytes = 4096
	// FullMetadataBytes is where intake stops until the slowest subject ends.
	FullMetadataBytes = MaxMetadataBytes * 3 / 4
)

// Metadata travels with a committed position.
type Metadata struct {
	Epoch int64
	Ahead Offsets
}

// ErrMetadata is matched by what DecodeMetadata gives for metadata of this format that is damaged.
var ErrMetadata = errors.New("commit metadata is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeMetadata gives the text. What is done ahead of so many runs that it would not fit is left out from the end:
// the events left out are handled again after a crash. The text is never empty, so that a position which somebody else
// has committed can be told.
func EncodeMetadata(position int64, m *Metadata) string {
	const maxRaw = (MaxMetadataBytes - len(metadataPrefix)) * 3 / 4
	runs := make([]byte, 0, 8*m.Ahead.Len())
	count, at := 0, position
	for _, r := range m.Ahead.Ranges() {
		next := binary.AppendUvarint(runs, uint64(r.Lo-at))
		next = binary.AppendUvarint(next, uint64(r.Hi-r.Lo))
		if len(next)+2*binary.MaxVarintLen64+crc32.Size > maxRaw {
			break
		}
		runs, at = next, r.Hi
		count++
	}
	b := binary.AppendUvarint(nil, uint64(m.Epoch))
	b = binary.AppendUvarint(b, uint64(count))
	b = append(b, runs...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return metadataPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// OwnMetadata tells whether the text was made by EncodeMetadata, rather than by whoever moved the position.
func OwnMetadata(text string) bool { return strings.HasPrefix(text, metadataPrefix) }

// DecodeMetadata reads the text that was committed with a position. Errors match ErrMetadata.
func DecodeMetadata(position int64, text string) (Metadata, error) {
	raw, ok := strings.CutPrefix(text, metadataPrefix)
	if !ok {
		return Metadata{}, fmt.Errorf("%w: not of this format", ErrMetadata)
	}
	b, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if len(b) < crc32.Size {
		return Metadata{}, fmt.Errorf("%w: %d bytes", ErrMetadata, len(b))
	}
	body, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return Metadata{}, fmt.Errorf("%w: checksum", ErrMetadata)
	}
	bad := false
	number := func() int64 {
		v, n := binary.Uvarint(body)
		if n <= 0 || v > math.MaxInt64 {
			bad = true
			return 0
		}
		body = body[n:]
		return int64(v)
	}
	m := Metadata{Epoch: number()}
	at := position
	for count := number(); count > 0 && !bad; count-- {
		gap, run := number(), number()
		if gap > math.MaxInt64-at || run > math.MaxInt64-at-gap {
			bad = true
			break
		}
		m.Ahead.Add(at+gap, at+gap+run)
		at += gap + run
	}
	if bad || len(body) > 0 {
		return Metadata{}, fmt.Errorf("%w: layout", ErrMetadata)
	}
	return m, nil
}

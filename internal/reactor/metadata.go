package reactor

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"

	"tidings.dev/internal/fields"
	"tidings.dev/internal/offsets"
)

// A reaction commits metadata with each position. Kafka's metadata is a string of at most 4096 bytes, so it is text:
//
//	"tidings2:" base64url, without padding, of
//
//	+----------+---------------+--------------+---------------+------------------+------------+
//	| topic id | epoch uvarint | rest uvarint | count uvarint | count × (gap,    | CRC-32C    |
//	| 16 bytes |               |              |               | run) uvarints    | 4 bytes BE |
//	+----------+---------------+--------------+---------------+------------------+------------+
//
// The topic id is that of the topic whose position is committed. epoch is the number of the last seek that was obeyed.
// The runs are the offsets done ahead, in order: after gap offsets that are not done, counted from the position or the
// end of the run before, run offsets are done. Other offsets that are done ahead are in the progress of the partition
// (progress.go), if the text has no room for them, and in the marks from offset rest-1 of tidings.reactions on: those of
// the rounds that were not committed. Text with a rest of 0, which earlier versions wrote, has all that was done. The
// checksum covers all bytes before it. The "2" in the prefix is the version; text of version 1 has neither topic id nor
// rest.
const (
	metadataPrefix  = "tidings"
	metadataPrefix1 = "tidings1:"
	metadataPrefix2 = "tidings2:"

	// maxMetadataBytes is the length of metadata that Kafka allows by default (offset.metadata.max.bytes).
	maxMetadataBytes = 4096
)

// topicID identifies a topic among the topics that have, or had, its name. The zero value means that the id is not
// known.
type topicID [16]byte

// metadata is what a reaction commits together with a position.
type metadata struct {
	topic topicID
	epoch int64
	ahead offsets.Set // the lowest of the offsets above the position that are done
	// marksFrom is an offset of tidings.reactions. What is done above the position is in ahead, in the progress of the
	// partition, or in the marks from marksFrom on. It is -1 if the text is of an earlier version and ahead has it all.
	marksFrom int64
}

// errMetadata is matched by the errors of decodeMetadata: the text is damaged, or has another format.
var errMetadata = errors.New("commit metadata is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// metadataDraft is metadata that is complete but for marksFrom, which is known only once the marks are written.
type metadataDraft struct {
	topic   topicID
	epoch   int64
	count   int
	runs    []byte
	partial bool
}

// draftMetadata returns the draft for a position. All offsets in ahead must be above the position. If they do not fit
// into a text, the draft has only the lowest of them and is partial.
func draftMetadata(topic topicID, epoch, position int64, ahead *offsets.Set) metadataDraft {
	const maxRuns = (maxMetadataBytes-len(metadataPrefix2))*3/4 - len(topicID{}) - 3*binary.MaxVarintLen64 - crc32.Size
	d := metadataDraft{topic: topic, epoch: epoch, runs: make([]byte, 0, min(8*ahead.Len(), maxRuns))}
	at := position
	for _, r := range ahead.Ranges() {
		next := binary.AppendUvarint(d.runs, uint64(r.Lo-at))
		next = binary.AppendUvarint(next, uint64(r.Hi-r.Lo))
		if len(next) > maxRuns {
			d.partial = true
			break
		}
		d.runs, at = next, r.Hi
		d.count++
	}
	return d
}

// text returns the text to commit. It is never empty, so that a position which another program has committed, without
// metadata, can be recognised.
func (d *metadataDraft) text(marksFrom int64) string {
	b := make([]byte, 0, len(d.runs)+64)
	b = append(b, d.topic[:]...)
	b = binary.AppendUvarint(b, uint64(d.epoch))
	b = binary.AppendUvarint(b, uint64(marksFrom)+1)
	b = binary.AppendUvarint(b, uint64(d.count))
	b = append(b, d.runs...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return metadataPrefix2 + base64.RawURLEncoding.EncodeToString(b)
}

// ownMetadata reports whether text was written by a reactor, possibly of another version. If not, the position that it
// belongs to was moved by hand.
func ownMetadata(text string) bool { return strings.HasPrefix(text, metadataPrefix) }

// decodeMetadata returns the metadata that text was made from. position is the position that it was committed with.
// Errors match errMetadata.
func decodeMetadata(position int64, text string) (metadata, error) {
	raw, second := strings.CutPrefix(text, metadataPrefix2)
	if !second {
		var first bool
		if raw, first = strings.CutPrefix(text, metadataPrefix1); !first {
			return metadata{}, fmt.Errorf("%w: not of this format", errMetadata)
		}
	}
	b, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return metadata{}, fmt.Errorf("%w: %w", errMetadata, err)
	}
	body, err := cutChecksum(b, errMetadata)
	if err != nil {
		return metadata{}, err
	}
	r := fields.NewReader(body, errMetadata)
	number := func() int64 { return int64(r.UvarintUpTo(math.MaxInt64)) }
	m := metadata{marksFrom: -1}
	if second {
		copy(m.topic[:], r.Take(len(m.topic)))
	}
	m.epoch = number()
	if second {
		m.marksFrom = number() - 1
	}
	m.ahead = readRuns(&r, position)
	return m, r.End()
}

// cutChecksum checks the checksum at the end of b and returns b without it. Errors match kind.
func cutChecksum(b []byte, kind error) ([]byte, error) {
	if len(b) < crc32.Size {
		return nil, fmt.Errorf("%w: %d bytes", kind, len(b))
	}
	body, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum", kind)
	}
	return body, nil
}

// readRuns reads a count and then that many runs: for each run, its distance from the end of the run before, or from
// at, and its length. It stops and sets r's error if they are not valid.
func readRuns(r *fields.Reader, at int64) (set offsets.Set) {
	for count := int64(r.UvarintUpTo(math.MaxInt64)); count > 0 && r.OK(); count-- {
		gap, run := int64(r.UvarintUpTo(math.MaxInt64)), int64(r.UvarintUpTo(math.MaxInt64))
		if gap > math.MaxInt64-at || run > math.MaxInt64-at-gap {
			r.Fail("offsets past the largest")
			return set
		}
		set.Add(at+gap, at+gap+run)
		at += gap + run
	}
	return set
}

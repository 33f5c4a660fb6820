package reactor

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/fields"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// The progress of a partition is the set of offsets above its position that are done, in chunks of 65,536 offsets.
// Each chunk that is not empty has one record on the compacted topic tidings.progress. The progress is written only
// while the set does not fit into the metadata of a commit (metadata.go): every progressEvery, and when the partition
// is given up. Only chunks that have changed are written, after the marks of their offsets. The next owner of the
// partition reads the chunks, and the marks that were written after them.
//
// An epoch is the time between two seeks of the partition. Within an epoch an offset that is done stays done, so the
// record of a chunk stays true even if later records are missing, and a record that is left over does no harm.
// Tombstones of chunks that the position has passed only save space.
//
//	+------+----------+---------------+----------------------------+------------+
//	| 1    | topic id | epoch uvarint | count uvarint, runs;       | CRC-32C    |
//	| byte | 16 bytes |               | or 0, and a bitmap of 8 KiB| 4 bytes BE |
//	+------+----------+---------------+----------------------------+------------+
//
// The first byte is the version, 1. Runs are encoded as in the metadata of a commit, beginning at the chunk's first
// offset. If the runs would take more than 8 KiB, the count is 0 and a bitmap follows, in which the lowest bit of the
// first byte stands for the chunk's first offset.
const (
	progressVersion = 1
	chunkBits       = 16
	chunkLen        = 1 << chunkBits
	bitmapLen       = chunkLen / 8

	// progressEvery is the time after which chunks and failing events are written again, at the next commit round.
	progressEvery = 5 * time.Second
)

// chunk is the part of a partition's progress with the offsets in [number<<chunkBits, (number+1)<<chunkBits). A chunk
// with an empty done is written as a tombstone.
type chunk struct {
	number int64
	done   offsets.Set
}

// errProgress is matched by the errors of decodeChunk: the record is damaged or of another version.
var errProgress = errors.New("record of progress is damaged")

// encodeChunk returns the value of a chunk's record, for a topic and the epoch of its last seek.
func encodeChunk(topic topicID, epoch int64, c *chunk) []byte {
	b := make([]byte, 0, 64)
	b = append(b, progressVersion)
	b = append(b, topic[:]...)
	b = binary.AppendUvarint(b, uint64(epoch))
	first := c.number << chunkBits
	runs := binary.AppendUvarint(nil, uint64(c.done.Len()))
	at := first
	for _, r := range c.done.Ranges() {
		runs = binary.AppendUvarint(runs, uint64(r.Lo-at))
		runs = binary.AppendUvarint(runs, uint64(r.Hi-r.Lo))
		at = r.Hi
	}
	if len(runs) <= bitmapLen {
		b = append(b, runs...)
	} else {
		bits := make([]byte, 1+bitmapLen) // a count of 0, and the bitmap
		for _, r := range c.done.Ranges() {
			for o := r.Lo - first; o < r.Hi-first; o++ {
				bits[1+o/8] |= 1 << (o % 8)
			}
		}
		b = append(b, bits...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeChunk decodes value, the record of the chunk with this number. It returns the topic id and the epoch under
// which the record was written, and the offsets that are done. Errors match errProgress.
func decodeChunk(number int64, value []byte) (topic topicID, epoch int64, done offsets.Set, err error) {
	body, err := cutChecksum(value, errProgress)
	if err != nil {
		return topic, 0, done, err
	}
	r := fields.NewReader(body, errProgress)
	if v := r.Byte(); v != progressVersion {
		r.Fail("version %d", v)
	}
	copy(topic[:], r.Take(len(topic)))
	epoch = int64(r.UvarintUpTo(math.MaxInt64))
	first := number << chunkBits
	if rest := r.Rest(); len(rest) == 1+bitmapLen && rest[0] == 0 {
		done = fromBitmap(first, r.Take(1 + bitmapLen)[1:])
	} else {
		done = readRuns(&r, first)
	}
	for _, d := range done.Ranges() {
		if d.Hi > first+chunkLen {
			r.Fail("offsets beyond the chunk")
		}
	}
	return topic, epoch, done, r.End()
}

// fromBitmap returns the offsets whose bits are set. The lowest bit of bits[0] stands for first.
func fromBitmap(first int64, bits []byte) (set offsets.Set) {
	for i, b := range bits {
		for bit := range int64(8) {
			if b&(1<<bit) != 0 {
				o := first + int64(i)*8 + bit
				set.Add(o, o+1)
			}
		}
	}
	return set
}

// changedChunks returns those chunks, in order, that have changed since they were last written. ahead has the offsets
// above position that are done. written has, for each chunk that was written, the number of its offsets that were done
// then, including those below the position. That number only grows, and a chunk is unchanged while its number is. If a
// chunk in written has no offsets in ahead any more, changedChunks returns it empty, for a tombstone. It sets written
// to the present numbers.
func changedChunks(position int64, ahead *offsets.Set, written map[int64]int64) (changed []chunk) {
	now := make(map[int64]*chunk)
	counts := make(map[int64]int64)
	for _, r := range ahead.Ranges() {
		for lo := r.Lo; lo < r.Hi; {
			number := lo >> chunkBits
			hi := min(r.Hi, (number+1)<<chunkBits)
			if now[number] == nil {
				now[number] = &chunk{number: number}
				counts[number] = max(0, position-number<<chunkBits)
			}
			now[number].done.Add(lo, hi)
			counts[number] += hi - lo
			lo = hi
		}
	}
	for number, c := range now {
		if written[number] != counts[number] {
			changed = append(changed, *c)
		}
	}
	for number := range written {
		if now[number] == nil {
			changed = append(changed, chunk{number: number})
		}
	}
	clear(written)
	maps.Copy(written, counts)
	slices.SortFunc(changed, func(a, b chunk) int { return cmp.Compare(a.number, b.number) })
	return changed
}

// progressRecords returns the records of the chunks of a part of a round.
func progressRecords(reaction string, f *finished) (records []*kgo.Record) {
	for i := range f.chunks {
		c := &f.chunks[i]
		r := &kgo.Record{Topic: obligation.ProgressTopic, Key: []byte(obligation.ProgressKey(reaction, f.topic, f.partition, c.number))}
		if !c.done.Empty() {
			r.Value = encodeChunk(f.draft.topic, f.epoch, c)
		}
		records = append(records, r)
	}
	return records
}

// chunkNumber returns the number of the chunk whose record has this key. ok is false if the key does not consist of
// prefix and a number.
func chunkNumber(key, prefix string) (number int64, ok bool) {
	text, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseInt(text, 10, 64)
	return number, err == nil && number >= 0 && number <= math.MaxInt64>>chunkBits
}

package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A journal file is a sequence of frames; each is what one commit wrote, and starts at a multiple of 512 bytes, so
// that no committed sector is ever written again. All integers are big-endian.
//
//	0       3         4         8            16          24            32      36       40      44             48
//	+-------+---------+---------+------------+-----------+-------------+-------+--------+-------+--------------+
//	| "TJF" | version | CRC-32C | generation | first LSN | durable LSN | count | length | flags | file sectors |
//	|       | u8 = 1  | u32     | u64        | u64       | u64         | u32   | u32    | u32   | u32          |
//	+-------+---------+---------+------------+-----------+-------------+-------+--------+-------+--------------+
//	48
//	+------+--------+---------+------+--------+---------+-----+------------------------+
//	| kind | length | payload | kind | length | payload | ... | zeros up to a multiple |
//	| u8   | u32    |         | u8   | u32    |         |     | of 512 bytes           |
//	+------+--------+---------+------+--------+---------+-----+------------------------+
//
// The version and the CRC keep their place and meaning in all versions to come. The CRC covers bytes [0, 4) and
// [8, end of the padding). generation is the file's, as in its name: whatever a recycled file held before has a lower
// one. first LSN is that of the first entry, or of the next one if count is 0. durable LSN is the last entry that was
// durable when the frame was written: the frame proves that all up to there was synced, whatever can be read of it
// now. length counts the bytes of the entries with their headers. file sectors is the length that the file had in
// multiples of 512 bytes before its first frame was written: if it is shorter now, it was cut.
const (
	frameMagic       = "TJF"
	formatVersion    = 1
	headerBytes      = 48
	entryHeaderBytes = 5
	frameAlign       = 512

	flagEnd = 1 << 0 // the last frame of a journal that was closed in good order; count is 0
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	padding    [frameAlign]byte
)

// header is what a frame says about itself.
type header struct {
	generation  uint64
	first       LSN
	durable     LSN
	count       uint32
	lengthBytes uint32
	flags       uint32
	fileSectors uint32
}

// frameBytes is the space that a frame with this many bytes of entries takes.
func frameBytes(lengthBytes int64) int64 {
	return (headerBytes + lengthBytes + frameAlign - 1) / frameAlign * frameAlign
}

// outFrame is a frame to be written. What is small is gathered; large payloads stay where they are and are written from
// there. The zero value is a frame without memory; begin makes it ready.
type outFrame struct {
	gathered []byte // header, headers of entries, small payloads, padding
	kept     []kept // in order
	bytes    int    // of all so far
	parts    [][]byte
}

// kept is a payload that belongs before gathered[at]. The last summedBytes of it have the CRC sum.
type kept struct {
	at          int
	data        []byte
	sum         uint32
	summedBytes int
}

// keptBytes is the size from which on a payload is not copied.
const keptBytes = 16 << 10

// begin starts a frame in the memory of an earlier one.
func (f *outFrame) begin() {
	f.gathered = append(f.gathered[:0], padding[:headerBytes]...)
	f.drop()
	f.bytes = headerBytes
}

// drop forgets the payloads.
func (f *outFrame) drop() {
	clear(f.kept)
	clear(f.parts)
	f.kept, f.parts = f.kept[:0], f.parts[:0]
}

// add adds an entry.
func (f *outFrame) add(e *Entry, payloadBytes int) {
	f.gathered = append(f.gathered, byte(e.Kind))
	f.gathered = binary.BigEndian.AppendUint32(f.gathered, uint32(payloadBytes))
	for i, p := range e.Payload {
		if len(p) < keptBytes {
			f.gathered = append(f.gathered, p...)
			continue
		}
		k := kept{at: len(f.gathered), data: p}
		if i == len(e.Payload)-1 && e.SummedBytes >= combineBytes && e.SummedBytes <= len(p) {
			k.sum, k.summedBytes = e.Sum, e.SummedBytes
		}
		f.kept = append(f.kept, k)
	}
	f.bytes += entryHeaderBytes + payloadBytes
}

// addEntries adds the body of a frame that was read.
func (f *outFrame) addEntries(body []byte) {
	f.gathered = append(f.gathered, body...)
	f.bytes += len(body)
}

// sizeBytes is the space that the frame takes.
func (f *outFrame) sizeBytes() int64 { return frameBytes(int64(f.bytes - headerBytes)) }

// seal pads the frame and writes its header; lengthBytes is set from the frame. The result, good until begin, is what
// is to be written, in order.
func (f *outFrame) seal(h header) [][]byte {
	h.lengthBytes = uint32(f.bytes - headerBytes)
	unpadded := f.bytes
	for i := range f.kept {
		unpadded -= len(f.kept[i].data)
	}
	f.parts, f.gathered = f.parts[:0], f.gathered[:unpadded] // it may have been sealed before
	f.gathered = append(f.gathered, padding[:f.sizeBytes()-int64(f.bytes)]...)
	b := f.gathered
	copy(b, frameMagic)
	b[3] = formatVersion
	binary.BigEndian.PutUint64(b[8:], h.generation)
	binary.BigEndian.PutUint64(b[16:], uint64(h.first))
	binary.BigEndian.PutUint64(b[24:], uint64(h.durable))
	binary.BigEndian.PutUint32(b[32:], h.count)
	binary.BigEndian.PutUint32(b[36:], h.lengthBytes)
	binary.BigEndian.PutUint32(b[40:], h.flags)
	binary.BigEndian.PutUint32(b[44:], h.fileSectors)

	// As frameChecksum has it, but in pieces.
	sum, summed, from := crc32.Checksum(b[:4], castagnoli), 8, 0
	for i := range f.kept {
		k := &f.kept[i]
		sum = crc32.Update(sum, castagnoli, b[summed:k.at])
		sum = crc32.Update(sum, castagnoli, k.data[:len(k.data)-k.summedBytes])
		if k.summedBytes > 0 {
			sum = combine(sum, k.sum, uint32(k.summedBytes))
		}
		if k.at > from {
			f.parts = append(f.parts, b[from:k.at])
		}
		f.parts = append(f.parts, k.data)
		summed, from = k.at, k.at
	}
	sum = crc32.Update(sum, castagnoli, b[summed:])
	if len(b) > from {
		f.parts = append(f.parts, b[from:])
	}
	binary.BigEndian.PutUint32(b[4:], sum)
	return f.parts
}

// frameChecksum is the CRC of a whole frame, padding included.
func frameChecksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:])
}

// checksumIn is the CRC that a frame says it has.
func checksumIn(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[4:]) }

// looksLikeFrame tells whether b, of at least headerBytes, begins as a frame of any version.
func looksLikeFrame(b []byte) bool { return string(b[:3]) == frameMagic }

// parseHeader reads a header without judging it.
func parseHeader(b []byte) header {
	return header{
		generation:  binary.BigEndian.Uint64(b[8:]),
		first:       LSN(binary.BigEndian.Uint64(b[16:])),
		durable:     LSN(binary.BigEndian.Uint64(b[24:])),
		count:       binary.BigEndian.Uint32(b[32:]),
		lengthBytes: binary.BigEndian.Uint32(b[36:]),
		flags:       binary.BigEndian.Uint32(b[40:]),
		fileSectors: binary.BigEndian.Uint32(b[44:]),
	}
}

// begun tells whether somebody began to write, at b, the frame of this generation that starts with entry first: one of
// the three things that show it may be damaged. What a recycled file held before has another generation, and its
// entries are all below first.
func begun(b []byte, generation uint64, first LSN) bool {
	h := parseHeader(b)
	magic := looksLikeFrame(b) && b[3] == formatVersion
	if h.generation == generation {
		return magic || h.first == first
	}
	return magic && h.first == first && h.count > 0
}

// errEntries says that a frame is whole, but its entries are not: it was written so.
var errEntries = errors.New("the entries of a whole frame don't fit its header")

// eachEntry calls do for every entry of a frame's body (the bytes after its header, without the padding).
func eachEntry(body []byte, h header, do func(LSN, Kind, []byte) error) error {
	for i := range h.count {
		if len(body) < entryHeaderBytes {
			return errEntries
		}
		kind, length := Kind(body[0]), binary.BigEndian.Uint32(body[1:])
		body = body[entryHeaderBytes:]
		if uint64(length) > uint64(len(body)) {
			return errEntries
		}
		if err := do(h.first+LSN(i), kind, body[:length:length]); err != nil {
			return err
		}
		body = body[length:]
	}
	if len(body) != 0 {
		return errEntries
	}
	return nil
}

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

// beginFrame starts a frame in the memory of b; the entries are to be appended to the result.
func beginFrame(b []byte) []byte { return append(b[:0], padding[:headerBytes]...) }

// appendEntry adds an entry to a frame.
func appendEntry(frame []byte, e *Entry) []byte {
	frame = append(frame, byte(e.Kind), 0, 0, 0, 0)
	start := len(frame)
	for _, p := range e.Payload {
		frame = append(frame, p...)
	}
	binary.BigEndian.PutUint32(frame[start-4:], uint32(len(frame)-start))
	return frame
}

// sealFrame pads a frame and writes its header; lengthBytes is set from the frame.
func sealFrame(frame []byte, h header) []byte {
	h.lengthBytes = uint32(len(frame) - headerBytes)
	frame = append(frame, padding[:frameBytes(int64(h.lengthBytes))-int64(len(frame))]...)
	copy(frame, frameMagic)
	frame[3] = formatVersion
	binary.BigEndian.PutUint64(frame[8:], h.generation)
	binary.BigEndian.PutUint64(frame[16:], uint64(h.first))
	binary.BigEndian.PutUint64(frame[24:], uint64(h.durable))
	binary.BigEndian.PutUint32(frame[32:], h.count)
	binary.BigEndian.PutUint32(frame[36:], h.lengthBytes)
	binary.BigEndian.PutUint32(frame[40:], h.flags)
	binary.BigEndian.PutUint32(frame[44:], h.fileSectors)
	binary.BigEndian.PutUint32(frame[4:], frameChecksum(frame))
	return frame
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

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
// Version and CRC will keep their place and meaning in all later versions. The CRC covers the bytes [0, 4) and [8, end
// of the padding). The other fields of the header are:
//
//   - generation: the generation of the file, as in its name. Frames that a recycled file had before have a lower one.
//   - first LSN: the LSN of the first entry, or of the next entry if count is 0.
//   - durable LSN: the last entry that was durable when the frame was written. The frame therefore proves that all
//     entries up to there were synced, even if they cannot be read any more.
//   - length: the size of the entries with their headers, in bytes.
//   - file sectors: the length of the file, in multiples of 512 bytes, before its first frame was written. If the file
//     is shorter now, it was cut.
const (
	frameMagic       = "TJF"
	formatVersion    = 1
	headerBytes      = 48
	entryHeaderBytes = 5
	frameAlign       = 512

	flagEnd = 1 << 0 // set in the last frame of a journal that was closed without an error; its count is 0
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	padding    [frameAlign]byte
)

// header contains the fields of a frame's header, without magic, version and CRC.
type header struct {
	generation  uint64
	first       LSN
	durable     LSN
	count       uint32
	lengthBytes uint32
	flags       uint32
	fileSectors uint32
}

// frameBytes returns the size in a file of a frame with lengthBytes of entries. It includes header and padding.
func frameBytes(lengthBytes int64) int64 {
	return (headerBytes + lengthBytes + frameAlign - 1) / frameAlign * frameAlign
}

// outFrame is a frame that is to be written. Small payloads are copied into gathered. Large ones are not copied but
// written from the memory that the caller of Append has provided. begin must be called before the first use and before
// each new frame; it reuses the memory of the frame before.
type outFrame struct {
	gathered []byte         // the frame's header, the headers of its entries, small payloads and the padding
	large    []largePayload // in the order of the frame
	bytes    int            // size of header and entries so far
	// parts is the result of seal.
	parts [][]byte
}

// largePayload is a payload that is not copied into outFrame.gathered. In the frame it comes before the byte
// gathered[at]. sum is the CRC of the last summedBytes bytes of data, which Entry.CRC has provided; summedBytes is 0 if
// there is no such CRC.
type largePayload struct {
	at          int
	data        []byte
	sum         uint32
	summedBytes int
}

// largePayloadBytes is the length in bytes from which on a payload is not copied.
const largePayloadBytes = 16 << 10

// begin starts a new, empty frame in the memory of the frame before.
func (f *outFrame) begin() {
	f.gathered = append(f.gathered[:0], padding[:headerBytes]...)
	f.drop()
	f.bytes = headerBytes
}

// drop removes the references to large payloads, so that their memory can be freed.
func (f *outFrame) drop() {
	clear(f.large)
	clear(f.parts)
	f.large, f.parts = f.large[:0], f.parts[:0]
}

// add appends an entry whose payload is payloadBytes long. Large parts of the payload must not change until the frame
// is written.
func (f *outFrame) add(e *Entry, payloadBytes int) {
	f.gathered = append(f.gathered, byte(e.Kind))
	f.gathered = binary.BigEndian.AppendUint32(f.gathered, uint32(payloadBytes))
	for i, p := range e.Payload {
		if len(p) < largePayloadBytes {
			f.gathered = append(f.gathered, p...)
			continue
		}
		k := largePayload{at: len(f.gathered), data: p}
		if i == len(e.Payload)-1 && e.CRCBytes >= combineBytes && e.CRCBytes <= len(p) {
			k.sum, k.summedBytes = e.CRC, e.CRCBytes
		}
		f.large = append(f.large, k)
	}
	f.bytes += entryHeaderBytes + payloadBytes
}

// addEntries appends all entries of a frame that was read. body is the frame without header and padding.
func (f *outFrame) addEntries(body []byte) {
	f.gathered = append(f.gathered, body...)
	f.bytes += len(body)
}

// sizeBytes returns the space that the frame takes in a file, in bytes.
func (f *outFrame) sizeBytes() int64 { return frameBytes(int64(f.bytes - headerBytes)) }

// seal adds the padding and the header h to the frame, and sets the length in the header. It returns the parts of the
// frame, which must be written in order and are valid until begin is called. A frame may be sealed again with another
// header.
func (f *outFrame) seal(h header) [][]byte {
	h.lengthBytes = uint32(f.bytes - headerBytes)
	unpadded := f.bytes
	for i := range f.large {
		unpadded -= len(f.large[i].data)
	}
	f.parts, f.gathered = f.parts[:0], f.gathered[:unpadded] // the frame may have been sealed before
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

	// The result is the checksum that frameChecksum would return, computed part by part.
	sum, summed, from := crc32.Checksum(b[:4], castagnoli), 8, 0
	for i := range f.large {
		k := &f.large[i]
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

// frameChecksum returns the CRC of a whole frame, padding included.
func frameChecksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:])
}

// checksumIn returns the CRC in the header of a frame.
func checksumIn(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[4:]) }

// looksLikeFrame reports whether b, of at least headerBytes, begins with the magic of a frame of any version.
func looksLikeFrame(b []byte) bool { return string(b[:3]) == frameMagic }

// parseHeader decodes the header of a frame, without any check.
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

// mayBegin reports whether b looks like the beginning of a frame of the given generation whose first entry has the LSN
// first. It looks like it if two of magic, generation and first LSN are correct, so that one of them may be damaged. A
// frame that a recycled file had before does not look like it: its generation is lower, and so are the LSNs of its
// entries.
func mayBegin(b []byte, generation uint64, first LSN) bool {
	h := parseHeader(b)
	magic := looksLikeFrame(b) && b[3] == formatVersion
	if h.generation == generation {
		return magic || h.first == first
	}
	return magic && h.first == first && h.count > 0
}

// errEntries means that the entries of a frame with a correct checksum do not fit the length and count in the frame's
// header.
var errEntries = errors.New("the entries of a whole frame don't fit its header")

// eachEntry calls do for each entry of a frame, in order, and returns the first error of do. body is the frame without
// header and padding. The payload passed to do is a part of body. The error is errEntries if the entries do not fit h.
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

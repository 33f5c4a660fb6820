package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync"
)

// The index file of a segment maps offsets and times to positions. It has an entry for one batch in every few KiB, with
// big-endian numbers. The file is never synced, so every entry is checked when it is used. If an entry has a wrong
// checksum, or does not lead to the batch that it describes, the index is built again from the segment.
//
//	0        4             8                16
//	+--------+-------------+----------------+
//	| "tidx" | version = 1 | segment's base |
//	+--------+-------------+----------------+
//	then, for each entry:
//	0                4                8                  16              20
//	+----------------+----------------+------------------+---------------+
//	| base offset of | position of    | largest timestamp| CRC32C of the |
//	| batch - base   | the batch      | before the batch | file's head + |
//	| uint32         | uint32 bytes   | int64 ms         | bytes 0..16   |
//	+----------------+----------------+------------------+---------------+
const (
	indexMagic       = 0x74696478
	indexVersion     = 1
	indexHeaderBytes = 16
	indexEntryBytes  = 20
)

// castagnoli is the table for CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// indexEntry maps an offset and a time to the position of a batch. From entry to entry position increases, and offset
// and maxBefore do not decrease.
type indexEntry struct {
	offset    uint32 // base offset of the batch, relative to the segment's base offset
	position  uint32 // position of the batch in the segment file, in bytes
	maxBefore int64  // largest timestamp of the batches before this one, in milliseconds since the Unix epoch
}

// errIndex means that an index file cannot be used and must be built again.
var errIndex = errors.New("partition: bad index")

// appendIndexHeader appends the header of the index file of the segment with a base offset.
func appendIndexHeader(dst []byte, base int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, indexMagic)
	dst = binary.BigEndian.AppendUint32(dst, indexVersion)
	return binary.BigEndian.AppendUint64(dst, uint64(base))
}

// append appends the binary form of e to dst. seed is the result of indexSeed for the segment.
func (e indexEntry) append(dst []byte, seed uint32) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, e.offset)
	dst = binary.BigEndian.AppendUint32(dst, e.position)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.maxBefore))
	return binary.BigEndian.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[at:]))
}

// decodeIndexEntry decodes an entry. It reports false if the checksum is wrong.
func decodeIndexEntry(b []byte, seed uint32) (indexEntry, bool) {
	return indexEntry{
		offset:    binary.BigEndian.Uint32(b),
		position:  binary.BigEndian.Uint32(b[4:]),
		maxBefore: int64(binary.BigEndian.Uint64(b[8:])),
	}, binary.BigEndian.Uint32(b[16:]) == crc32.Update(seed, castagnoli, b[:16])
}

// indexSeed returns the checksum of the header of a segment's index file. The checksums of the file's entries continue
// it, so that neither an entry of another segment or version nor a run of zeros has a correct checksum.
func indexSeed(base int64) uint32 {
	return crc32.Checksum(appendIndexHeader(nil, base), castagnoli)
}

// writeIndex appends the pending entries of a segment to its index file. l.io must be held.
func (l *Log) writeIndex(seg *segment) error {
	if len(seg.pending) == 0 {
		return nil
	}
	fresh := seg.IndexBytes == 0
	f, err := l.openToWrite(fileKey{l, seg.SegmentName, indexFile}, fresh)
	if err != nil {
		return err
	}
	var out []byte
	if fresh {
		out = appendIndexHeader(out, seg.Base)
	}
	seed := indexSeed(seg.Base)
	for _, e := range seg.pending {
		out = e.append(out, seed)
	}
	_, err = f.WriteAt(out, seg.IndexBytes)
	// The file is not marked as dirty: if its content is lost, the index is built again.
	_ = f.release()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.IndexBytes += int64(len(out))
	seg.pending = nil
	return nil
}

// indexBuffers is a pool of buffers for one entry.
var indexBuffers = sync.Pool{New: func() any { return new([indexEntryBytes]byte) }}

// lookUp returns the last entry in the index of seg, a snapshot of a segment, for which before returns true. before
// must be true for all entries up to some entry and false for all later ones. ok is false if before is true for no
// entry. If the index cannot be read or an entry that is read is wrong, the error matches errIndex.
func (l *Log) lookUp(seg *segment, before func(indexEntry) bool) (found indexEntry, ok bool, err error) {
	if n := sort.Search(len(seg.pending), func(i int) bool { return !before(seg.pending[i]) }); n > 0 {
		return seg.pending[n-1], true, nil
	}
	if seg.IndexBytes <= indexHeaderBytes {
		return indexEntry{}, false, nil
	}
	f, err := l.files.acquire(fileKey{l, seg.SegmentName, indexFile}, false)
	if err != nil {
		return indexEntry{}, false, fmt.Errorf("%w: %w", errIndex, err)
	}
	buf := indexBuffers.Get().(*[indexEntryBytes]byte)
	defer func() {
		indexBuffers.Put(buf)
		// The file was only read, so that an error of release can be ignored.
		_ = f.release()
	}()

	seed := indexSeed(seg.Base)
	entries := int((seg.IndexBytes - indexHeaderBytes) / indexEntryBytes)
	sort.Search(entries, func(i int) bool {
		if err != nil {
			return true
		}
		n, readErr := f.ReadAt(buf[:], indexHeaderBytes+int64(i)*indexEntryBytes)
		if n < indexEntryBytes {
			err = fmt.Errorf("%w: entry %d: %w", errIndex, i, readErr)
			return true
		}
		e, valid := decodeIndexEntry(buf[:], seed)
		if !valid || int64(e.position) >= seg.SizeBytes {
			err = fmt.Errorf("%w: entry %d", errIndex, i)
			return true
		}
		if before(e) {
			found, ok = e, true
			return false
		}
		return true
	})
	return found, ok && err == nil, err
}

// rebuild builds the index of a segment again. It reads and checks the whole segment. It returns the position of the
// last batch that begins at or before offset. If the segment is damaged, it returns a *CorruptError and leaves the
// index as it was. If the segment is not in the log any more, it returns errGone.
func (l *Log) rebuild(name SegmentName, offset int64) (position int64, err error) {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.RLock()
	seg := l.segmentNamed(name)
	var snapshot segment
	var interval int
	if seg != nil {
		snapshot, interval = *seg, l.config.IndexIntervalBytes
	}
	l.mu.RUnlock()
	if seg == nil {
		return 0, errGone
	}

	fresh := segment{SegmentState: newSegment(name.Base, name.Generation)}
	w, err := l.walk(&snapshot, 0, name.Base, scanBytes)
	if err != nil {
		return 0, err
	}
	defer w.close()
	for {
		v, err := w.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if v.BaseOffset() <= offset {
			position = fresh.SizeBytes
		}
		fresh.add(v, interval)
	}

	l.mu.Lock()
	seg.pending, seg.IndexBytes, seg.indexedBytes = fresh.pending, 0, fresh.indexedBytes
	l.mu.Unlock()
	if err := l.writeIndex(seg); err != nil {
		// The entries stay in memory until a later write, so the error can be ignored.
		return position, nil
	}
	return position, nil
}

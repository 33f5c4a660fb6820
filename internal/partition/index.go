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

// The index file of a segment finds both offsets and times: an entry for one batch in every few KiB, big-endian. It is
// never synced and never believed: an entry that fails its checksum, or that doesn't lead to the batch it names, has
// the whole file made anew from the segment.
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// indexEntry leads to a batch. Both offset and maxBefore never decrease from entry to entry.
type indexEntry struct {
	offset    uint32 // of the batch, less the segment's base
	position  uint32 // in the segment file
	maxBefore int64  // largest timestamp of the batches before it
}

// errIndex says that an index file can't be used.
var errIndex = errors.New("partition: bad index")

func appendIndexHeader(dst []byte, base int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, indexMagic)
	dst = binary.BigEndian.AppendUint32(dst, indexVersion)
	return binary.BigEndian.AppendUint64(dst, uint64(base))
}

func (e indexEntry) append(dst []byte, seed uint32) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, e.offset)
	dst = binary.BigEndian.AppendUint32(dst, e.position)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.maxBefore))
	return binary.BigEndian.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[at:]))
}

func decodeIndexEntry(b []byte, seed uint32) (indexEntry, bool) {
	return indexEntry{
		offset:    binary.BigEndian.Uint32(b),
		position:  binary.BigEndian.Uint32(b[4:]),
		maxBefore: int64(binary.BigEndian.Uint64(b[8:])),
	}, binary.BigEndian.Uint32(b[16:]) == crc32.Update(seed, castagnoli, b[:16])
}

// indexSeed begins the checksums of a segment's entries with the file's head: an entry of another segment or version,
// or zeros, won't do.
func indexSeed(base int64) uint32 {
	return crc32.Checksum(appendIndexHeader(nil, base), castagnoli)
}

// writeIndex appends the pending entries to the segment's index file. With l.io held.
func (l *Log) writeIndex(seg *segment) error {
	if len(seg.pending) == 0 {
		return nil
	}
	key := fileKey{l, seg.SegmentName, indexFile}
	var out []byte
	var f *openFile
	var err error
	if seg.IndexBytes == 0 {
		out = appendIndexHeader(out, seg.Base)
		l.dirDirty = true
		f, err = l.files.create(key)
	} else {
		f, err = l.files.acquire(key, true)
	}
	if err != nil {
		return err
	}
	seed := indexSeed(seg.Base)
	for _, e := range seg.pending {
		out = e.append(out, seed)
	}
	_, err = f.WriteAt(out, seg.IndexBytes)
	// It isn't dirty in the cache's sense: losing it costs a scan.
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

var indexBuffers = sync.Pool{New: func() any { return new([indexEntryBytes]byte) }}

// lookUp returns the last entry of a segment's snapshot for which before is true; before must be true up to some entry and
// false from there on. ok is false if it is true for none. Entries that do not check out give errIndex.
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
		// A file that was only read has nothing to lose.
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

// rebuild makes the index of a segment anew by reading all of it, which checks every batch, and returns the position
// of the last batch that begins at or before offset. Damage in the segment is a *CorruptError and leaves the index as
// it was.
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
		// The entries stay in memory until a later write gets them to the file: nothing is lost by going on.
		return position, nil
	}
	return position, nil
}

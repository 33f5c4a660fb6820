package partition

import (
	"math"
	"net"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Stored is a run of consecutive whole batches in a segment file that may be sent from the file to a connection. Their
// checksums were verified after the file was opened, and the bytes that were verified are still in the page cache, from
// which the kernel sends them. The zero value is an empty run. A Stored does not keep the file open: the sender calls
// Open first, which reports whether the batches may still be sent.
type Stored struct {
	log       *Log
	segment   SegmentName
	position  int64
	sizeBytes int
	end       int64 // offset after the last record of the segment
}

// SizeBytes returns the length of the run in bytes. It is 0 for the zero value.
func (s Stored) SizeBytes() int { return s.sizeBytes }

// ReadStored does what Read does, for a caller that can send parts of files to a connection. If the batches may be sent
// from their file, it returns them as a Stored; otherwise it appends them to dst. They may not be sent from their file
// if they are in memory, not in the page cache or not verified yet, if compaction has written their segment, if they
// are shorter than 64 KiB, or if offset is not where an earlier read ended.
func (l *Log) ReadStored(dst [][]byte, offset int64, maxBytes int) (_ [][]byte, stored Stored, err error) {
	if stored = l.stored(offset, maxBytes, math.MaxInt64); stored.sizeBytes > 0 {
		return dst, stored, nil
	}
	r := readOp{log: l, dst: dst, offset: offset, maxBytes: maxBytes, canSend: true}
	err = r.runAndReadAhead()
	return r.dst, Stored{}, err
}

// stored returns the run of batches that begins at offset and has at most maxBytes. It returns the zero Stored if the
// batches may not be sent from their file, or if the segment does not end at or below the offset below.
func (l *Log) stored(offset int64, maxBytes int, below int64) Stored {
	seg, segmentEnd, position, ok := l.storedAt(offset)
	if !ok || segmentEnd > below {
		return Stored{}
	}
	f, err := l.open(&seg)
	if err != nil {
		return Stored{} // Read will meet the same error and return it
	}
	defer func() { _ = f.release() }()

	end, next := f.checked.endOf(position), int64(-1)
	if room := position + int64(maxBytes); end > room {
		if end, next = l.boundary(&seg, room); end < 0 {
			return Stored{}
		}
	}
	run := Stored{log: l, segment: seg.SegmentName, position: position, sizeBytes: int(end - position), end: segmentEnd}
	if end-position < l.files.minStoredBytes || !run.stillChecked(f) {
		return Stored{}
	}
	if next >= 0 {
		if !beginsAt(f, &seg, end, next) {
			return Stored{}
		}
		l.hints.keep(hint{segment: seg.SegmentName, offset: next, position: end})
	}
	return run
}

// storedAt returns the segment that contains offset, its end, and the position of the batch that begins there. ok is
// false if the batch is in memory, or if its position is not known without a search.
func (l *Log) storedAt(offset int64) (seg segment, end, position int64, ok bool) {
	l.mu.RLock()
	if offset >= l.start && offset < l.tail.first(l.end) {
		if i := l.segmentAt(offset); i >= 0 {
			seg, end, ok = *l.segments[i], l.segmentEnd(i), true
		}
	}
	l.mu.RUnlock()
	if !ok || seg.Generation > 0 || l.readAhead.has(l, offset) {
		return segment{}, 0, 0, false
	}
	if offset > seg.Base {
		position, ok = l.hints.find(seg.SegmentName, offset)
	}
	return seg, end, position, ok
}

// boundary returns, according to the index, the last position at or below position at which a batch begins, and the
// base offset of that batch. It returns -1, -1 if there is none.
func (l *Log) boundary(seg *segment, position int64) (at, offset int64) {
	e, found, err := l.lookUp(seg, func(e indexEntry) bool { return int64(e.position) <= position })
	if err != nil || !found {
		return -1, -1
	}
	return int64(e.position), seg.Base + int64(e.offset)
}

// beginsAt reports whether a batch with the base offset offset begins at a position of the file.
func beginsAt(f *openFile, seg *segment, position, offset int64) bool {
	var head [batch.HeaderBytes]byte
	if _, err := f.ReadAt(head[:], position); err != nil {
		return false
	}
	return checkHead(head[:], offset, seg.SizeBytes-position) == ""
}

// stillChecked reports whether the run is in the page cache and was verified since the file f was opened.
func (s Stored) stillChecked(f *openFile) bool {
	sender, ok := f.File.(vfs.Sender)
	return ok && f.checked.endOf(s.position) >= s.position+int64(s.sizeBytes) && sender.Cached(s.sizeBytes, s.position)
}

// Open opens the run's file so that the run can be sent. The caller must call Close of the result. ok is false if the
// run is empty, if its segment was removed, or if its batches would have to be verified again. The caller then uses
// Read.
func (s Stored) Open() (open *OpenStored, ok bool) {
	if s.sizeBytes == 0 {
		return nil, false
	}
	f, err := s.log.files.acquire(fileKey{s.log, s.segment, segmentFile}, false)
	if err != nil {
		return nil, false
	}
	if !s.stillChecked(f) {
		_ = f.release()
		return nil, false
	}
	return &OpenStored{Stored: s, file: f}, true
}

// OpenStored is a Stored whose file stays open until Close.
type OpenStored struct {
	Stored
	file *openFile
}

// SendTo sends the run to a connection without copying it into the memory of this process. It blocks as a Write to the
// connection does. After an error it is unknown how many bytes were sent.
func (o *OpenStored) SendTo(to *net.TCPConn) error {
	_, err := o.file.File.(vfs.Sender).SendTo(to, o.sizeBytes, o.position)
	return err
}

// Close releases the file. It must be called once.
func (o *OpenStored) Close() { _ = o.file.release() }

package partition

import (
	"net"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Stored is a run of whole batches that lie one after the other in a segment file and may be sent from there. Since the
// file was opened, all of their checksums were checked in what the page cache holds of it. The zero value is none.
//
// It keeps nothing open. Who sends it opens it then, and may find that it has gone.
type Stored struct {
	log       *Log
	segment   SegmentName
	position  int64
	sizeBytes int
}

// SizeBytes is how long the run is; 0: there is none.
func (s Stored) SizeBytes() int { return s.sizeBytes }

// ReadStored is Read for who can send files: the batches come as Stored if they can, and otherwise as Read returns them. What
// is in memory can't, nor what is not in the page cache, was not checked, is left by a compaction, shorter than 64 KiB, or
// in the middle of what was read so far.
func (l *Log) ReadStored(dst [][]byte, offset int64, maxBytes int) (_ [][]byte, stored Stored, err error) {
	if stored = l.stored(offset, maxBytes); stored.sizeBytes > 0 {
		return dst, stored, nil
	}
	r := reading{log: l, dst: dst, offset: offset, maxBytes: maxBytes, sends: true}
	err = r.runAndAhead()
	return r.dst, Stored{}, err
}

// stored is the run of batches from the one that begins with offset on, at most maxBytes of it.
func (l *Log) stored(offset int64, maxBytes int) Stored {
	seg, position, ok := l.storedAt(offset)
	if !ok {
		return Stored{}
	}
	f, err := l.open(&seg)
	if err != nil {
		return Stored{} // Read says what is wrong
	}
	defer func() { _ = f.release() }()

	end, next := f.checked.endOf(position), int64(-1)
	if room := position + int64(maxBytes); end > room {
		if end, next = l.boundary(&seg, room); end < 0 {
			return Stored{}
		}
	}
	run := Stored{log: l, segment: seg.SegmentName, position: position, sizeBytes: int(end - position)}
	if end-position < l.files.leastStored || !run.isFit(f) {
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

// storedAt is the segment of an offset in history that nothing has in memory, and where in it the offset's batch begins, if
// that is known without a search.
func (l *Log) storedAt(offset int64) (seg segment, position int64, ok bool) {
	l.mu.RLock()
	if offset >= l.start && offset < l.tail.first(l.end) {
		seg, ok = l.snapshot(offset)
	}
	l.mu.RUnlock()
	if !ok || seg.Generation > 0 || l.ahead.has(l, offset) {
		return segment{}, 0, false
	}
	if offset > seg.Base {
		position, ok = l.hints.find(seg.SegmentName, offset)
	}
	return seg, position, ok
}

// boundary is the last place that the index knows up to a position, and the offset of the batch that begins there; -1 if
// there is none.
func (l *Log) boundary(seg *segment, position int64) (at, offset int64) {
	e, found, err := l.lookUp(seg, func(e indexEntry) bool { return int64(e.position) <= position })
	if err != nil || !found {
		return -1, -1
	}
	return int64(e.position), seg.Base + int64(e.offset)
}

// beginsAt says whether a batch with this base offset begins at a position.
func beginsAt(f *openFile, seg *segment, position, offset int64) bool {
	var head [batch.HeaderBytes]byte
	if _, err := f.ReadAt(head[:], position); err != nil {
		return false
	}
	return checkHead(head[:], offset, seg.SizeBytes-position) == ""
}

// isFit says whether an open file still has the run as it was checked.
func (s Stored) isFit(f *openFile) bool {
	sender, ok := f.File.(vfs.Sender)
	return ok && f.checked.endOf(s.position) >= s.position+int64(s.sizeBytes) && sender.Cached(s.sizeBytes, s.position)
}

// Open gets the run ready to be sent; Close it after. ok is false if there is none, if it has gone since, and if it would
// have to be checked again: Read has what is left of it.
func (s Stored) Open() (open *OpenStored, ok bool) {
	if s.sizeBytes == 0 {
		return nil, false
	}
	f, err := s.log.files.acquire(fileKey{s.log, s.segment, segmentFile}, false)
	if err != nil {
		return nil, false
	}
	if !s.isFit(f) {
		_ = f.release()
		return nil, false
	}
	return &OpenStored{Stored: s, file: f}, true
}

// OpenStored is a run that stays where it is until it is closed.
type OpenStored struct {
	Stored
	file *openFile
}

// SendTo writes the run to a connection without a copy in this process. It blocks as a Write does. After an error it is
// unknown how much was sent.
func (o *OpenStored) SendTo(to *net.TCPConn) error {
	_, err := o.file.File.(vfs.Sender).SendTo(to, o.sizeBytes, o.position)
	return err
}

// Close lets go of the file.
func (o *OpenStored) Close() { _ = o.file.release() }

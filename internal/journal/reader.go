package journal

import (
	"bytes"
	"io"

	"tidings.dev/internal/vfs"
)

// readerBytes is the smallest number of bytes that a reader reads from its file at once, unless the file ends.
const readerBytes = 1 << 20

// reader reads the frames of one file through a buffer. The readers of a recovery, one after the other, share the
// memory of the buffer. A reader is used by one goroutine.
type reader struct {
	f          vfs.File
	name       string
	generation uint64
	sizeBytes  int64
	buffer     []byte // the bytes of the file from startBytes on
	startBytes int64
	// retains means that bytes which were returned stay valid, so that the buffer only grows. It is for reading in
	// order from startBytes on.
	retains bool
}

// at returns the n bytes at a position, or fewer at the end of the file. They are valid until the next call, unless
// retains is set. If the file is shorter than sizeBytes, at returns an error.
func (r *reader) at(positionBytes int64, n int64) ([]byte, error) {
	n = max(0, min(n, r.sizeBytes-positionBytes))
	from := positionBytes - r.startBytes
	if from >= 0 && from+n <= int64(len(r.buffer)) {
		return r.buffer[from : from+n], nil
	}
	// The bytes that are wanted and already in the buffer are kept.
	switch {
	case from < 0 || from > int64(len(r.buffer)):
		r.buffer, r.startBytes, from = r.buffer[:0], positionBytes, 0
	case !r.retains:
		r.buffer = r.buffer[:copy(r.buffer, r.buffer[from:])]
		r.startBytes, from = positionBytes, 0
	}
	have, want := len(r.buffer), max(0, min(max(from+n, readerBytes), r.sizeBytes-r.startBytes))
	if int64(cap(r.buffer)) < want {
		r.buffer = append(make([]byte, 0, want), r.buffer...)
	}
	r.buffer = r.buffer[:want]
	got, err := r.f.ReadAt(r.buffer[have:], r.startBytes+int64(have))
	if got < len(r.buffer)-have {
		r.buffer = r.buffer[:0]
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return r.buffer[from : from+n], nil
}

// frame is a whole frame with a correct checksum, of any generation.
type frame struct {
	header
	body      []byte // the entries; valid until the next call of a method of the reader, unless its retains is set
	sizeBytes int64  // size in the file, with header and padding
}

// frame returns the frame at a position. ok is false if there is no whole frame. The error is one of I/O or a
// *VersionError.
func (r *reader) frame(positionBytes int64) (f frame, ok bool, err error) {
	b, err := r.at(positionBytes, headerBytes)
	if err != nil || len(b) < headerBytes || !looksLikeFrame(b) {
		return frame{}, false, err
	}
	h := parseHeader(b)
	size := frameBytes(int64(h.lengthBytes))
	if size > r.sizeBytes-positionBytes {
		return frame{}, false, nil
	}
	b, err = r.at(positionBytes, size)
	if err != nil || frameChecksum(b) != checksumIn(b) {
		return frame{}, false, err
	}
	if version := int(b[3]); version != formatVersion {
		return frame{}, false, &VersionError{File: r.name, Version: version}
	}
	return frame{header: h, body: b[headerBytes : headerBytes+int64(h.lengthBytes)], sizeBytes: size}, true, nil
}

// provenAfter reports whether a frame of the file's generation, after a position, proves by its durable LSN that the
// entry lsn was durable.
func (r *reader) provenAfter(positionBytes int64, lsn LSN) (bool, error) {
	for at := positionBytes/frameAlign*frameAlign + frameAlign; at < r.sizeBytes; at += frameAlign {
		b, err := r.at(at, headerBytes)
		if err != nil {
			return false, err
		}
		if len(b) < headerBytes || !looksLikeFrame(b) || parseHeader(b).generation != r.generation {
			continue
		}
		f, ok, err := r.frame(at)
		if err != nil {
			return false, err
		}
		if ok && f.durable >= lsn {
			return true, nil
		}
	}
	return false, nil
}

// usedAt reports whether something was written at a position which is no whole frame now. A file that no frame was written to
// has zeros there, or a frame of an earlier generation.
func (r *reader) usedAt(positionBytes int64) (bool, error) {
	b, err := r.at(positionBytes, headerBytes)
	if err != nil || len(bytes.Trim(b, "\x00")) == 0 {
		return false, err
	}
	_, whole, err := r.frame(positionBytes)
	return !whole, err
}

// mayBeginAt reports whether the bytes at a position look like the beginning of the frame whose first entry is lsn: see
// mayBegin.
func (r *reader) mayBeginAt(positionBytes int64, lsn LSN) (bool, error) {
	b, err := r.at(positionBytes, headerBytes)
	if err != nil || len(b) < headerBytes {
		return false, err
	}
	return mayBegin(b, r.generation, lsn), nil
}

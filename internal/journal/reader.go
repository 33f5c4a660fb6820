package journal

import (
	"io"

	"tidings.dev/internal/vfs"
)

// readAhead is how many bytes a reader asks for at once.
const readAhead = 1 << 20

// reader looks at the frames of one file, through a buffer that it shares with the readers before and after it.
type reader struct {
	f          vfs.File
	name       string
	generation uint64
	sizeBytes  int64
	buffer     []byte // what is at startBytes of the file
	startBytes int64
	keeps      bool // what was returned stays valid, so the buffer grows; for reading on from startBytes
}

// at returns n bytes at a position, valid until the next call unless the reader keeps them; fewer where the file ends.
func (r *reader) at(positionBytes int64, n int64) ([]byte, error) {
	n = max(0, min(n, r.sizeBytes-positionBytes))
	from := positionBytes - r.startBytes
	if from >= 0 && from+n <= int64(len(r.buffer)) {
		return r.buffer[from : from+n], nil
	}
	// What is there of it is not read again.
	switch {
	case from < 0 || from > int64(len(r.buffer)):
		r.buffer, r.startBytes, from = r.buffer[:0], positionBytes, 0
	case !r.keeps:
		r.buffer = r.buffer[:copy(r.buffer, r.buffer[from:])]
		r.startBytes, from = positionBytes, 0
	}
	have, want := len(r.buffer), max(0, min(max(from+n, readAhead), r.sizeBytes-r.startBytes))
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

// frame is a whole frame whose checksum is right, of whatever generation.
type frame struct {
	header
	body      []byte // the entries; valid until the next call to the reader
	sizeBytes int64  // with header and padding
}

// frame returns the frame at a position; ok is false if there is none that is whole. The error is one of reading, or a
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

// provenAfter looks behind a place that can't be read for a frame of this file which proves that entry lsn was durable.
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

// begunAt tells whether the frame that starts with entry lsn was begun at a position.
func (r *reader) begunAt(positionBytes int64, lsn LSN) (bool, error) {
	b, err := r.at(positionBytes, headerBytes)
	if err != nil || len(b) < headerBytes {
		return false, err
	}
	return begun(b, r.generation, lsn), nil
}

package vfs

import (
	"fmt"
	"io"
)

// ReadFile returns the content of the file with a name. If the file gets shorter while it is read, the error matches
// io.ErrUnexpectedEOF.
func ReadFile(fs FS, name string) ([]byte, error) {
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	content, err := readWhole(f, int(size), 0)
	if int64(len(content)) < size {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return content, nil
}

// readWhole implements File.ReadUncached with ReadAt: it reads sizeBytes bytes from off on. If it returns fewer, it
// returns an error, which is io.EOF at the end of the file.
func readWhole(f io.ReaderAt, sizeBytes int, off int64) ([]byte, error) {
	b := make([]byte, max(sizeBytes, 0))
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}

// clip returns the part of p that a file with sizeBytes bytes can fill from off on, and io.EOF if that is not all of p.
// off must not be negative.
func clip(p []byte, off, sizeBytes int64) ([]byte, error) {
	left := max(0, sizeBytes-off)
	if int64(len(p)) <= left {
		return p, nil
	}
	return p[:left], io.EOF
}

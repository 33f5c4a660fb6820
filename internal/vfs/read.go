package vfs

import (
	"fmt"
	"io"
)

// ReadFile returns all that a file holds. A file that ends sooner than its length says is an error that matches
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

// readWhole is ReadPast by way of ReadAt.
func readWhole(f io.ReaderAt, sizeBytes int, off int64) ([]byte, error) {
	b := make([]byte, max(sizeBytes, 0))
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}

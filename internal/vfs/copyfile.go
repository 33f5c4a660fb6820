package vfs

import (
	"errors"
	"fmt"
	"io"
)

// copyBytes is the largest number of bytes that CopyFile reads at once.
const copyBytes = 1 << 20

// CopyFile copies the first sizeBytes bytes of the file from to the file to, which it creates or overwrites. If sync is
// true, the content of the copy is durable when CopyFile returns nil; its name is durable after SyncDir. If from is
// shorter than sizeBytes, the error matches io.ErrUnexpectedEOF. After an error the copy may have any content.
func CopyFile(fs FS, from, to string, sizeBytes int64, sync bool) error {
	in, err := fs.OpenRead(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fs.Create(to)
	if err != nil {
		return err
	}
	buf := make([]byte, min(sizeBytes, copyBytes))
	for at := int64(0); at < sizeBytes && err == nil; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), sizeBytes-at)]
		if n, readErr := in.ReadAt(b, at); n < len(b) {
			err = fmt.Errorf("%s has %d bytes and should have %d: %w", from, at+int64(n), sizeBytes, errors.Join(readErr, io.ErrUnexpectedEOF))
		} else {
			_, err = out.WriteAt(b, at)
		}
	}
	if err == nil && sync {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

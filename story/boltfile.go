package story

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// A bbolt file begins with two meta pages; the one with the newer transaction is in effect. Each meta page begins as
// follows, in the byte order of the machine. Lengths and offsets are in bytes:
//
//	│ page header 16 │ magic 4 │ version 4 │ page size 4 │ flags 4 │ root 16 │ freelist 8 │ pages 8 │ …
//	0                16                    24                                              56
const (
	boltMagic      = 0xED0CDAED
	boltMagicAt    = 16
	boltPageSizeAt = 24
	boltPagesAt    = 56
	boltMetaLen    = 64
)

// checkFileSize returns an error that matches ErrDamaged if the bbolt file at path is shorter than its meta pages
// say. It must be called before bbolt opens the file: bbolt maps the file into memory, and the process would die of
// SIGBUS when it reads a missing page. A missing or empty file is accepted, as bbolt makes a new one. A file of
// another kind is accepted, too, as bbolt refuses it.
func checkFileSize(path string) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return nil
	}
	var meta [boltMetaLen]byte
	pageBytes := int64(os.Getpagesize())
	for at := int64(0); at <= pageBytes; at += pageBytes {
		if _, err := f.ReadAt(meta[:], at); err == io.EOF {
			return fmt.Errorf("%w: it has %d bytes", ErrDamaged, info.Size())
		} else if err != nil {
			return err
		}
		if binary.NativeEndian.Uint32(meta[boltMagicAt:]) != boltMagic {
			continue
		}
		if at == 0 {
			pageBytes = max(int64(binary.NativeEndian.Uint32(meta[boltPageSizeAt:])), 512)
		}
		// Either meta page may be in effect. As no transaction makes the file shorter, the pages of both must be
		// there.
		if pages := binary.NativeEndian.Uint64(meta[boltPagesAt:]); pages > uint64(info.Size()/pageBytes) {
			return fmt.Errorf("%w: its end is missing", ErrDamaged)
		}
	}
	return nil
}

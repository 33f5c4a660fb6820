package story

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// key reads a key of the index file.
type key struct {
	b   []byte
	bad bool
}

func (k *key) u32() uint32 {
	if len(k.b) < 4 {
		k.bad = true
		return 0
	}
	n := binary.BigEndian.Uint32(k.b)
	k.b = k.b[4:]
	return n
}

func (k *key) u64() uint64 {
	if len(k.b) < 8 {
		k.bad = true
		return 0
	}
	n := binary.BigEndian.Uint64(k.b)
	k.b = k.b[8:]
	return n
}

// checkSize finds out whether a bbolt file has lost its end, before bbolt maps it and the process dies of SIGBUS. What
// it reads is one of the two meta pages, in the byte order of the machine:
//
//	| page header 16 | magic u32 | version u32 | page size u32 | flags u32 | root 16 | freelist u64 | pages u64 | … |
func checkSize(path string) error {
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
		return nil // bbolt makes a new one of it
	}
	const magic = 0xED0CDAED
	var meta [64]byte
	pageBytes := int64(os.Getpagesize())
	for at := int64(0); at <= pageBytes; at += pageBytes {
		if _, err := f.ReadAt(meta[:], at); err == io.EOF {
			return fmt.Errorf("%w: it has %d bytes", ErrDamaged, info.Size())
		} else if err != nil {
			return err
		}
		if binary.NativeEndian.Uint32(meta[16:]) != magic {
			continue
		}
		if at == 0 {
			pageBytes = max(int64(binary.NativeEndian.Uint32(meta[24:])), 512)
		}
		// The newer meta page decides, but no transaction makes the file shorter.
		if pages := binary.NativeEndian.Uint64(meta[56:]); pages > uint64(info.Size()/pageBytes) {
			return fmt.Errorf("%w: its end is missing", ErrDamaged)
		}
	}
	return nil
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"tidings.dev/internal/vfs"
)

const (
	// recycledBytes is the size of the file that Rewrite overwrites. It is large enough that a page is not written
	// again while an earlier write of the same page is on its way to the disk.
	recycledBytes = 64 << 20
	grownBytes    = 256 << 20 // size at which Append truncates its file
	maxDiskBytes  = 4 << 20   // maximum bytes of one write or read
)

// Names of the files of a DiskLimit.
const (
	recycledFile = "recycled"
	grownFile    = "grown"
)

// DiskLimit measures a disk and its file system with one operation at a time. Its methods must not be called
// concurrently. The caller must close it.
type DiskLimit struct {
	fs       vfs.FS
	data     []byte
	recycled vfs.File
	at       int64 // offset in recycled of the next write
}

// OpenDiskLimit writes a file of 64 MiB into dir. It creates dir if necessary.
func OpenDiskLimit(dir string) (*DiskLimit, error) {
	fs, err := vfs.Disk(dir)
	if err != nil {
		return nil, err
	}
	l := &DiskLimit{fs: fs, data: make([]byte, maxDiskBytes)}
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(l.data) // never fails
	l.recycled, err = fs.Create(recycledFile)
	for at := int64(0); at < recycledBytes && err == nil; at += int64(len(l.data)) {
		_, err = l.recycled.WriteAt(l.data, at)
	}
	if err == nil {
		err = l.recycled.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Rewrite overwrites parts of the file, writeBytes at a time, and makes each write durable, for the duration d.
// Records is the number of writes, and Latency the time of a write and its sync. writeBytes must be from 1 byte to 4
// MiB; otherwise the error matches ErrLoad.
func (l *DiskLimit) Rewrite(ctx context.Context, writeBytes int, d time.Duration) (Measured, error) {
	return repeat(ctx, writeBytes, d, func() (int, error) {
		if l.at+int64(writeBytes) > recycledBytes {
			l.at = 0
		}
		at := l.at
		l.at += int64(writeBytes)
		if _, err := l.recycled.WriteAt(l.data[:writeBytes], at); err != nil {
			return 0, err
		}
		return writeBytes, l.recycled.Sync()
	})
}

// Append is like Rewrite, but appends to a file that grows and bypasses the page cache, so that the file system has
// to allocate blocks for the data.
func (l *DiskLimit) Append(ctx context.Context, writeBytes int, d time.Duration) (m Measured, err error) {
	f, err := l.fs.Create(grownFile)
	if err != nil {
		return m, err
	}
	end := int64(0)
	m, err = repeat(ctx, writeBytes, d, func() (int, error) {
		if end >= grownBytes {
			if err := f.Truncate(0); err != nil {
				return 0, err
			}
			end = 0
		}
		at := end
		end += int64(writeBytes)
		if _, err := f.WriteParts([][]byte{l.data[:writeBytes]}, at, vfs.WontRead); err != nil {
			return 0, err
		}
		return writeBytes, f.Sync()
	})
	return m, errors.Join(err, f.Close(), l.fs.Remove(grownFile))
}

// repeat calls do for the duration d and records the time of each call. do handles up to sizeBytes bytes and returns
// how many it handled.
func repeat(ctx context.Context, sizeBytes int, d time.Duration, do func() (bytes int, _ error)) (Measured, error) {
	m := Measured{Latency: &Histogram{}}
	if sizeBytes < 1 || sizeBytes > maxDiskBytes {
		return m, fmt.Errorf("%w: %d bytes at a time", ErrLoad, sizeBytes)
	}
	t := StartMeter(Endpoint{})
	for end := t.began.Add(d); ; {
		before := time.Now()
		if !before.Before(end) {
			break
		}
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		n, err := do()
		if err != nil {
			return m, err
		}
		m.Latency.Record(time.Since(before))
		m.Records++
		m.Bytes += int64(n)
	}
	t.Stop(&m)
	return m, nil
}

// Close closes and removes the files of the DiskLimit.
func (l *DiskLimit) Close() error {
	var errs []error
	if l.recycled != nil {
		errs = append(errs, l.recycled.Close(), l.fs.Remove(recycledFile))
	}
	if c, ok := l.fs.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

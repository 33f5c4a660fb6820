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
	// recycledBytes is the size of the file that is written over and over: large enough that no page is written again
	// while it is on its way to the disk.
	recycledBytes = 64 << 20
	grownBytes    = 256 << 20 // after so many a file that grows is begun anew
	maxDiskBytes  = 4 << 20   // of one write or read
)

// Files of a DiskLimit.
const (
	recycledFile = "recycled"
	grownFile    = "grown"
)

// DiskLimit is what a disk gives to one who asks for one thing after the other, the file system included. Make one with
// OpenDiskLimit; it is for one goroutine.
type DiskLimit struct {
	fs       vfs.FS
	data     []byte
	recycled vfs.File
	at       int64 // in recycled
}

// OpenDiskLimit fills a file in dir, which is made if it is not there.
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

// Rewrite writes writeBytes at a time, and makes each durable, within a file that was filled once. Records counts the
// syncs, Latency is that of one write and its sync.
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

// Append is Rewrite at the end of a file that grows, past the page cache: what is to be kept needs blocks that were not
// written before.
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

// repeat does one thing, of up to so many bytes, over and over for d.
func repeat(ctx context.Context, sizeBytes int, d time.Duration, do func() (bytes int, _ error)) (Measured, error) {
	m := Measured{Latency: &Histogram{}}
	if sizeBytes < 1 || sizeBytes > maxDiskBytes {
		return m, fmt.Errorf("%w: %d bytes at a time", ErrLoad, sizeBytes)
	}
	t := startMeter(Endpoint{})
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
	t.stop(&m)
	return m, nil
}

// Close removes the files.
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

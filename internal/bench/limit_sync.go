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

// syncFileBytes is the size of the file that is written over and over: large enough that no page is written again while
// it is on its way to the disk.
const syncFileBytes = 64 << 20

const syncFileName = "recycled"

// SyncLimit is what the disk gives to one writer that makes each write durable: writes and fdatasyncs, one after the
// other, within a file that was filled once. Make one with OpenSyncLimit; it is for one goroutine.
type SyncLimit struct {
	fs   vfs.FS
	file vfs.File
	data []byte
	at   int64
}

// OpenSyncLimit fills a file in dir, which is made if it is not there.
func OpenSyncLimit(dir string) (*SyncLimit, error) {
	fs, err := vfs.Disk(dir)
	if err != nil {
		return nil, err
	}
	l := &SyncLimit{fs: fs, data: make([]byte, 4<<20)}
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(l.data) // never fails
	if l.file, err = fs.Create(syncFileName); err != nil {
		return nil, errors.Join(err, l.closeFS())
	}
	err = l.file.Allocate(syncFileBytes)
	for at := int64(0); at < syncFileBytes && err == nil; at += int64(len(l.data)) {
		_, err = l.file.WriteAt(l.data, at)
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Run writes and syncs writeBytes at a time for d. Records counts the syncs, Latency is that of one write and its sync.
func (l *SyncLimit) Run(ctx context.Context, writeBytes int, d time.Duration) (Measured, error) {
	if writeBytes < 1 || writeBytes > len(l.data) {
		return Measured{}, fmt.Errorf("%w: syncs of %d bytes", ErrLoad, writeBytes)
	}
	m := Measured{Latency: &Histogram{}}
	t := startMeter(Endpoint{})
	for end := t.began.Add(d); ; {
		before := time.Now()
		if !before.Before(end) {
			break
		}
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		if l.at+int64(writeBytes) > syncFileBytes {
			l.at = 0
		}
		if _, err := l.file.WriteAt(l.data[:writeBytes], l.at); err != nil {
			return m, err
		}
		if err := l.file.Sync(); err != nil {
			return m, err
		}
		m.Latency.Record(time.Since(before))
		l.at += int64(writeBytes)
		m.Records++
		m.Bytes += int64(writeBytes)
	}
	t.stop(&m)
	return m, nil
}

// Close removes the file.
func (l *SyncLimit) Close() error {
	var err error
	if l.file != nil {
		err = errors.Join(l.file.Close(), l.fs.Remove(syncFileName))
	}
	return errors.Join(err, l.closeFS())
}

func (l *SyncLimit) closeFS() error {
	if c, ok := l.fs.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

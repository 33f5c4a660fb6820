package backup

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Source is a snapshot from which a backup is taken. The caller must Close it.
type Source struct {
	FS       vfs.FS
	Dir      string // directory of the snapshot in FS
	Snapshot engine.Snapshot
	release  func() error
}

// Close releases the snapshot. An error means that the snapshot may have changed while it was read, so that a backup
// taken from it must not be used.
func (s *Source) Close() error { return s.release() }

// AtRest makes a snapshot of a data directory on which no broker is running, without writing to the directory. It opens
// the directory with an engine over an overlay, which replays the journal in memory and makes the snapshot there.
// Brokers cannot open the directory until the Source is closed. The error is a *vfs.LockedError if a broker is running,
// or one of engine.Open or Engine.Snapshot.
func AtRest(ctx context.Context, dir string, log *slog.Logger) (_ *Source, err error) {
	lock, err := vfs.LockShared(dir)
	if err != nil {
		return nil, err
	}
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	release := func() error { return errors.Join(disk.(io.Closer).Close(), lock.Release()) }
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	overlay := vfs.NewOverlay(disk)
	if _, err := disk.Stat(datadir.FormatFile); err != nil {
		if refused := datadir.Check(overlay); refused != nil {
			return nil, refused
		}
		return nil, err // an engine could open an empty directory, but there is nothing to back up
	}
	e, err := engine.Open(engine.Config{FS: overlay, Logger: log})
	if err != nil {
		return nil, err
	}
	snap, err := e.Snapshot(ctx, datadir.SnapshotDir)
	if err = errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	return &Source{FS: overlay, Dir: datadir.SnapshotDir, Snapshot: snap, release: release}, nil
}

// Hot returns the Source of a snapshot that a running broker has made in dir. release must make the broker remove the
// snapshot. Close calls it, and so does Hot if it returns an error.
func Hot(dir string, snap engine.Snapshot, release func() error) (*Source, error) {
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Source{FS: disk, Dir: ".", Snapshot: snap, release: func() error {
		return errors.Join(disk.(io.Closer).Close(), release())
	}}, nil
}

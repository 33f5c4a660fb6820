package backup

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Source is a snapshot to take a backup of.
type Source struct {
	FS       vfs.FS
	Dir      string // in FS
	Snapshot engine.Snapshot
	release  func() error
}

// Close gives it back. The error says that what was read of it proves nothing.
func (s *Source) Close() error { return s.release() }

// AtRest makes a snapshot of a data directory on which no broker runs, without writing to it: the engine opens it over
// an overlay, as a broker would, replays the journal there, and makes the snapshot there. A broker that is started
// meanwhile is refused. Errors: *vfs.LockedError, and those of engine.Open.
func AtRest(ctx context.Context, dir string, log *slog.Logger) (_ *Source, err error) {
	watch, err := vfs.Watch(dir)
	if err != nil {
		return nil, err
	}
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, errors.Join(err, watch.Release())
	}
	release := func() error { return errors.Join(disk.(io.Closer).Close(), watch.Release()) }
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	overlay := vfs.NewOverlay(disk)
	if _, err := disk.Stat(directoryFormat); err != nil {
		if refused := engine.CheckDirectory(overlay); refused != nil {
			return nil, refused
		}
		return nil, err // an empty directory is no log
	}
	e, err := engine.Open(engine.Config{FS: overlay, Logger: log})
	if err != nil {
		return nil, err
	}
	snap, err := e.Snapshot(ctx, engine.SnapshotDir)
	if err = errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	return &Source{FS: overlay, Dir: engine.SnapshotDir, Snapshot: snap, release: release}, nil
}

// Hot is the snapshot that a running broker made at dir; release gives it back.
func Hot(dir string, snap engine.Snapshot, release func() error) (*Source, error) {
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Source{FS: disk, Dir: ".", Snapshot: snap, release: func() error {
		return errors.Join(disk.(io.Closer).Close(), release())
	}}, nil
}

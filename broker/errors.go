package broker

import (
	"errors"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// ErrClosed is returned by Dial and Serve once Close has begun.
var ErrClosed = errors.New("broker is closed")

// ErrStorage matches Err once a write or sync has failed.
var ErrStorage = engine.ErrStorage

// LockedError says that another process, or another broker in this one, owns the data directory.
type LockedError = vfs.LockedError

// ForeignError says that the directory holds files that no broker made, and names some.
type ForeignError = engine.ForeignError

// FormatError says that another version of the program made the data directory.
type FormatError = engine.FormatError

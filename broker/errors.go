package broker

import (
	"errors"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// ErrClosed is the error of [Broker.Serve] once Close has begun; the error of [Broker.Dial] then matches it.
var ErrClosed = errors.New("broker is closed")

// ErrStorage matches the errors of [Broker.Err] and [Broker.Full]: the file system has failed or refused a write.
var ErrStorage = engine.ErrStorage

// ErrSetting matches the error of [Open] for [Config.Settings] that have a name or a value that the broker does not know.
var ErrSetting = errors.New("broker setting")

// LockedError is the error of [Open] for a data directory that another broker has open, in this process or another. PID
// is the id of that process, or 0 if it is not known.
type LockedError = vfs.LockedError

// ForeignError is the error of [Open] for a directory that contains files other than a broker's. It names some of them.
type ForeignError = datadir.ForeignError

// FormatError is the error of [Open] for a data directory in a format that this version of the program does not read.
type FormatError = datadir.FormatError

package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrFenced matches every error after a failed write or sync. The cause is wrapped beside it. A fenced journal
	// stays so: what the disk holds is known again only after the next Open.
	ErrFenced = errors.New("journal is fenced after a failed write")
	// ErrFull matches the error for an entry for which there is no room on the disk. It is not stored; nothing is lost, and
	// the journal goes on after Resume.
	ErrFull = errors.New("journal has no room on the disk")
	// ErrClosed is returned by Append once Close was called.
	ErrClosed = errors.New("journal is closed")
	// ErrTooLarge matches the error for an entry above MaxEntryBytes.
	ErrTooLarge = errors.New("journal entry is too large")
	// ErrCorrupt matches every *CorruptError.
	ErrCorrupt = errors.New("journal is corrupt")
)

// CorruptError says that bytes are lost or wrong that were durable once.
type CorruptError struct {
	File          string // its path in the file system; the journal's directory if no file can be named
	PositionBytes int64  // where the damage begins, from the start of the file
	LSN           LSN    // the first entry that can't be read
	Reason        string
}

// Error names the file and the position, and says what can be done.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %s, byte %d: %s; LSN %d can't be read: `tidings doctor` on the data directory says what is left, "+
		"`tidings repair` keeps it, and `tidings restore` brings back a backup", ErrCorrupt, e.File, e.PositionBytes, e.Reason, e.LSN)
}

// Is matches ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// VersionError says that a file was written by a version of the format that this program doesn't know.
type VersionError struct {
	File    string
	Version int
}

// Error names the file and both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has journal format version %d, and this program knows versions up to %d: use the newer program",
		e.File, e.Version, formatVersion)
}

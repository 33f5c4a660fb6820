package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrFenced is matched by every error after a write or sync has failed. The cause is wrapped beside it. A fenced
	// journal stays fenced; only the next Open finds out what the disk contains.
	ErrFenced = errors.New("journal is fenced after a failed write")
	// ErrFull is matched by the error for an entry that the disk has no space for. The entry is not stored. Earlier
	// entries are safe, and the journal accepts entries again after Resume.
	ErrFull = errors.New("journal has no room on the disk")
	// ErrClosed is returned by Append after Close was called.
	ErrClosed = errors.New("journal is closed")
	// ErrTooLarge is matched by the error for an entry whose payload is larger than MaxEntryBytes.
	ErrTooLarge = errors.New("journal entry is too large")
	// ErrCorrupt matches every *CorruptError.
	ErrCorrupt = errors.New("journal is corrupt")
)

// CorruptError reports that bytes of a journal which were durable are lost or changed.
type CorruptError struct {
	File          string // full name of the damaged file, or the journal's directory if no file can be named
	PositionBytes int64  // position in the file at which the damage begins
	LSN           LSN    // the first entry that cannot be read
	Reason        string
}

// Error returns a message that names the file and the position and says what the user can do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %s, byte %d: %s; LSN %d can't be read: `tidings doctor` on the data directory says what is left, "+
		"`tidings repair` keeps it, and `tidings restore` brings back a backup", ErrCorrupt, e.File, e.PositionBytes, e.Reason, e.LSN)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// VersionError reports that a file has a version of the journal's format that this program does not support.
type VersionError struct {
	File    string
	Version int
}

// Error returns a message that names the file and both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has journal format version %d, and this program knows versions up to %d: use the newer program",
		e.File, e.Version, formatVersion)
}

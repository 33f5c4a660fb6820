package datadir

import "fmt"

// ForeignError means that a directory contains files that do not belong to a data directory. The engine does not open
// it, so that no such file is changed.
type ForeignError struct {
	Names []string // the first of these files, in order; at most maxForeignNames
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("engine: the directory is not empty and no data directory of Tidings: it holds %q", e.Names)
}

// FormatError means that another version of the program has written the data directory.
type FormatError struct {
	Found string // content of FormatFile
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("engine: the data directory has format %q; this program reads and writes %q", e.Found, FormatLine)
}

// CheckpointError means that a checkpoint, or a file that it refers to, cannot be used.
type CheckpointError struct {
	File   string
	Reason string
	Err    error // the cause, or nil
}

func (e *CheckpointError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("engine: %s: %s: %v", e.File, e.Reason, e.Err)
	}
	return fmt.Sprintf("engine: %s: %s", e.File, e.Reason)
}

func (e *CheckpointError) Unwrap() error { return e.Err }

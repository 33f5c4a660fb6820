package engine

import (
	"errors"
	"fmt"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
)

// What the engine answers; match them with errors.Is. Some are the sentinels of the room that found the error, under
// the name by which the front end knows them.
var (
	ErrUnknownTopic     = meta.ErrUnknownTopic
	ErrUnknownPartition = errors.New("engine: no such partition")
	ErrOffsetOutOfRange = partition.ErrOffsetOutOfRange
	ErrTooLarge         = batch.ErrTooLarge
	ErrInvalidRecord    = batch.ErrInvalidRecord
	ErrFencedEpoch      = errors.New("engine: leader epoch is older than the broker's")
	ErrUnknownEpoch     = errors.New("engine: leader epoch is newer than the broker's")
	// ErrStorage: a write or sync has failed, or recovery data is damaged. Nothing is appended any more until the
	// directory is opened anew; reads go on. Also a read that the file system refuses, and a topic whose files can't be
	// made: those stop nothing else. The error that is returned wraps the cause.
	ErrStorage = errors.New("engine: storage error")
	// ErrFull: the disk has no room. It matches ErrStorage too. Appends go on by themselves when it has; reads, commits of positions and deletions
	// go on all the while.
	ErrFull = errors.New("the disk is full; appends go on when there is room")
	// ErrClosed: Close has begun.
	ErrClosed = errors.New("engine: closed")
	// ErrAutoCreate: the topic is not there and may not be created by use.
	ErrAutoCreate = errors.New("engine: topics are not created by use")
)

// ForeignError refuses a directory that holds files which are not ours, so that nothing of anybody else's is touched.
type ForeignError struct {
	Names []string // at most a few of the names, in order
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("engine: the directory is not empty and no data directory of Tidings: it holds %q", e.Names)
}

// FormatError refuses a data directory that was written by another version.
type FormatError struct {
	Found string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("engine: the data directory has format %q; this program reads and writes %q", e.Found, formatLine)
}

// CheckpointError says that a checkpoint, or what it refers to, cannot be used.
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

// storageError classifies what the journal or a segment reports, once: closed stays closed, all else is ErrStorage.
func storageError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrStorage), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, journal.ErrClosed):
		return ErrClosed
	case isFull(err):
		return fmt.Errorf("%w: %w: %w", ErrStorage, ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// readError classifies what reading a log reports: damage is batch.ErrCorrupt and is logged once for each place, a
// closed log is ErrClosed, failed I/O is ErrStorage.
func (e *Engine) readError(err error) error {
	if damage, ok := errors.AsType[*partition.CorruptError](err); ok {
		if _, told := e.told.LoadOrStore(*damage, true); !told {
			e.log.Error("part of a log is damaged: reads of it fail, the rest is served", "err", damage)
		}
		return fmt.Errorf("%w: %w", batch.ErrCorrupt, err)
	}
	switch {
	case err == nil, errors.Is(err, ErrOffsetOutOfRange):
		return err
	case errors.Is(err, partition.ErrClosed):
		return ErrClosed
	}
	return storageError(err)
}

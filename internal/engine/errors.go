package engine

import (
	"errors"
	"fmt"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Errors of an engine, to be matched with errors.Is. Some of them are sentinels of other packages.
var (
	ErrUnknownTopic     = meta.ErrUnknownTopic
	ErrUnknownPartition = errors.New("engine: no such partition")
	ErrOffsetOutOfRange = partition.ErrOffsetOutOfRange
	ErrTooLarge         = batch.ErrTooLarge
	ErrInvalidRecord    = batch.ErrInvalidRecord
	ErrFencedEpoch      = errors.New("engine: leader epoch is older than the broker's")
	ErrUnknownEpoch     = errors.New("engine: leader epoch is newer than the broker's")
	// ErrStorage means that a write or a sync has failed, after which the engine refuses all appends until the
	// directory is opened anew, while reads go on. It also means that a read has failed or that a topic's files could
	// not be created; those failures concern only that read or topic. The returned error wraps the cause.
	ErrStorage = errors.New("engine: storage error")
	// ErrFull means that the disk has no space, or that the process has no free file descriptor. An error that matches it
	// matches ErrStorage too. The engine accepts appends again by itself when there is space. Reads, commits of positions
	// and deletions go on meanwhile.
	ErrFull error = shortage("the disk is full; appends go on when there is room")
	// errNoDescriptors is the ErrFull of a lack of file descriptors.
	errNoDescriptors error = shortage("no file descriptor is free; appends go on when there is one")
	// ErrClosed means that Close has begun.
	ErrClosed = errors.New("engine: closed")
	// ErrAutoCreate means that the topic does not exist and that Config.AutoCreateTopics is false.
	ErrAutoCreate = errors.New("engine: topics are not created by use")
)

// shortage is the type of ErrFull and errNoDescriptors, which match each other.
type shortage string

func (s shortage) Error() string { return string(s) }

// Is reports whether target is a shortage, too.
func (s shortage) Is(target error) bool { _, ok := target.(shortage); return ok }

// storageError returns the engine's error for an error of the journal, of a segment or of the file system: ErrClosed
// for journal.ErrClosed, an error that matches ErrStorage and ErrFull for a full disk, and an error that matches
// ErrStorage for everything else. It returns nil and errors that it has already classified unchanged.
func storageError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrStorage), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, journal.ErrClosed):
		return ErrClosed
	case isFull(err) && vfs.IsNoDescriptors(err):
		return fmt.Errorf("%w: %w: %w", ErrStorage, errNoDescriptors, err)
	case isFull(err):
		return fmt.Errorf("%w: %w: %w", ErrStorage, ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// readError returns the engine's error for an error of reading a log: an error that matches batch.ErrCorrupt for
// damage, ErrClosed for a closed log, and an error that matches ErrStorage for failed I/O. It returns nil and
// ErrOffsetOutOfRange unchanged. Each damage is logged the first time it is met.
func (e *Engine) readError(err error) error {
	if damage, ok := errors.AsType[*partition.CorruptError](err); ok {
		if _, reported := e.reportedDamage.LoadOrStore(*damage, true); !reported {
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

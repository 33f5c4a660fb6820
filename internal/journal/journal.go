// Package journal implements the write-ahead journal of a broker. Everything that must be durable, of all partitions,
// groups and producers, is an entry in it. Entries are committed in groups: one goroutine at a time takes all entries
// that are queued, writes them as one frame, makes the frame durable with one sync, and then calls the Done function of
// each entry. A commit never waits for more entries to come: an entry that is alone costs one sync, and under load all
// entries that were queued during one sync share the next. An entry may also ask to be answered when it is written and
// to be synced later (SyncWithin). A timer runs only while such an entry has a deadline.
//
// The goroutine that commits is the journal's own, or that of a caller of CommitInline. The second saves two switches
// between goroutines, for a caller that would wait for the commit anyway.
//
// A full disk does not fence the journal. The journal refuses entries then, except those of a higher Priority, for
// which it has files in reserve. Resume makes it accept all entries again when there is space.
//
// The files are described byte by byte in docs/format/journal.md and beside the constants in frame.go.
package journal

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// LSN is a log sequence number, the place of an entry in the journal. The first entry has the LSN 1, and each further
// entry the next number. The LSN 0 means a place before all entries.
type LSN uint64

// Kind says what the payload of an entry means. The journal stores it and attaches no meaning to it.
type Kind uint8

// Entry is an argument of Append: content that is to be made durable.
type Entry struct {
	Kind Kind
	// Payload is the content. Its parts are stored as one, in order. Together they have at most MaxEntryBytes. The
	// parts must not change until Done is called.
	Payload [][]byte
	// CRC is the CRC-32C of the last CRCBytes bytes of the last part of Payload. It saves the journal the computation.
	// If it is wrong, the frame of the entry cannot be read again. CRCBytes is 0 if there is no such CRC.
	CRC      uint32
	CRCBytes int
	// Done is called once. Its error is nil when the entry is durable, or, if SyncWithin is not 0, when it is written.
	// The error matches ErrFenced if the entry may not be stored, and ErrFull if it is not stored. The goroutine that
	// commits calls Done, one call at a time and in the order of LSN. Done must not block, nor call a method that
	// appends, commits or closes. It may be nil.
	Done func(LSN, error)
	// SyncWithin is the longest time after which the entry is synced. 0 means that Done is called after the sync. With
	// another value Done is called after the write. NoDeadline means that the entry is synced with another entry, at
	// the end of the file, or by Close. An entry that is written and not synced survives the end of the process, but
	// not a crash of the machine.
	SyncWithin time.Duration
	// Priority decides whether the entry is accepted when the disk is full.
	Priority Priority
	// Deferred means that the caller of Append starts the commit, by a call of Wake or CommitInline after its last
	// entry. Until then the entry is only committed together with others.
	Deferred bool
}

// Priority decides whether an entry is accepted when the disk is full. Entries of a higher priority may use more of the
// journal's reserve.
type Priority uint8

const (
	PriorityNormal  Priority = iota // not accepted on a full disk
	PriorityVital                   // accepted as long as its part of the reserve lasts
	PriorityFreeing                 // accepted longer than that, for entries which free space
)

// NoDeadline, as Entry.SyncWithin, means that the entry is synced together with a later entry.
const NoDeadline time.Duration = -1

// MaxEntryBytes is the largest size in bytes of the payload of one entry.
const MaxEntryBytes = 1 << 30

// Options contains the parameters of a journal. The zero value of a field stands for the default that its comment names.
type Options struct {
	// FileBytes is the length of a journal file. The default is 16 MiB. A file is longer if it contains a single frame
	// that is larger.
	FileBytes     int64
	MaxGroupBytes int // largest size of a frame's entries, unless a single entry is larger; default 4 MiB
	// MaxQueuedBytes is the size of the entries that are queued or being committed above which Append blocks. The
	// default is 64 MiB.
	MaxQueuedBytes int64
	Logger         *slog.Logger // default: a logger that discards everything

	// OnFault is called once, with the error with which the journal is fenced; by then Err returns this error, and Append
	// may have returned it. OnFull is called each time that the journal refuses queued entries because the disk is full,
	// after Done of all of them. The goroutine that commits calls both, and the rules for Done apply to them. Each may be
	// nil.
	OnFault func(error)
	OnFull  func(error)
}

const (
	defaultFileBytes      = 16 << 20
	defaultMaxGroupBytes  = 4 << 20
	defaultMaxQueuedBytes = 64 << 20
	minFileBytes          = 4 * frameAlign
	maxFileBytes          = 1 << 40
)

func (o Options) withDefaults() Options {
	if o.FileBytes <= 0 {
		o.FileBytes = defaultFileBytes
	}
	// A whole number of sectors, and no more than a frame's header can represent.
	o.FileBytes = min(max(minFileBytes, o.FileBytes/frameAlign*frameAlign), maxFileBytes)
	if o.MaxGroupBytes <= 0 {
		o.MaxGroupBytes = defaultMaxGroupBytes
	}
	o.MaxGroupBytes = min(o.MaxGroupBytes, MaxEntryBytes)
	if o.MaxQueuedBytes <= 0 {
		o.MaxQueuedBytes = defaultMaxQueuedBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Journal is an open journal. All methods are safe for concurrent use.
//
// Invariants:
//   - At most one goroutine commits at a time. take sets committing for it, and commitAll clears it.
//   - durable <= written < next. Only the goroutine that commits changes durable and written, and they never decrease.
//     Append increases next. Only refuseLowest decreases it: on a full disk it refuses entries that are not written
//     yet, and later entries get their LSNs.
//   - Entries become durable in the order of LSN.
//   - After fault is set, nothing is written any more.
type Journal struct {
	dir string
	o   Options

	durable   atomic.Uint64 // LSN of the last durable entry
	written   atomic.Uint64 // LSN of the last entry that is in a file
	groupEnd  atomic.Uint64 // last LSN of the group whose Done functions are being called
	fullCount atomic.Uint64 // how many times the journal has become full

	mu   sync.Mutex // guards the fields below, up to syncDue; never held during I/O or a call of Done
	work sync.Cond  // the journal's goroutine waits on it until there is work and no goroutine commits
	room sync.Cond  // Append waits on it until queuedBytes has decreased or the entry is refused
	// queue has the entries that were accepted and that take has not taken yet, in the order of LSN. The last has the
	// LSN next-1.
	queue       []pending
	free        []pending // memory for the next queue; nil while the goroutine that commits uses it
	queuedBytes int64     // size of the entries that are in the queue or that were taken and not answered
	next        LSN       // LSN of the next entry
	// committing means that a goroutine has taken entries and commits them: the journal's own, or a caller of
	// CommitInline.
	committing   bool
	closing      bool  // Close was called
	fault        error // why the journal is fenced, or nil; matches ErrFenced
	full         error // why the journal does not accept all entries, or nil; matches ErrFull
	reserveSpent bool  // entries of PriorityVital are refused too; implies full != nil
	syncDue      bool  // the deadline for the sync of a written entry has passed

	files files // has locks of its own; its methods are never called with mu held, except setFull and hasReserveFor

	// The fields below belong to the goroutine that commits. committing, which mu guards, hands them from one goroutine
	// to the next.
	current *openFile // the file that frames are written to; nil before the first frame and after the end
	// frame is memory for the frame that is being written.
	frame    outFrame
	deadline time.Time   // time by which the written entries must be synced; the zero time means that there is no deadline
	timer    *time.Timer // sets syncDue at deadline; nil before its first use

	ended  chan struct{} // closed when the journal's goroutine has ended
	endErr error         // result of Close; written before ended is closed
}

// pending is an entry that Append has accepted.
type pending struct {
	Entry
	lsn   LSN // may still decrease while the entry is in no file: see refuseLowest
	bytes int // size of the entry in a frame, with its header
}

// Append gives the next LSN to the entry and queues the entry. It does no I/O. It blocks while MaxQueuedBytes are
// queued. If it returns an error, which matches ErrFenced, ErrFull, ErrClosed or ErrTooLarge, the entry is not queued
// and Done is not called.
//
// If the journal becomes full before the entry is written, and the entry has a higher priority than the refused ones,
// it may get a lower LSN than Append has returned. The LSN that is passed to Done is final.
func (j *Journal) Append(e Entry) (LSN, error) {
	bytes := 0
	for _, p := range e.Payload {
		if bytes += len(p); bytes > MaxEntryBytes {
			return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxEntryBytes)
		}
	}
	bytes += entryHeaderBytes

	j.mu.Lock()
	defer j.mu.Unlock()
	// An entry of any size is accepted if the queue is empty.
	for j.queuedBytes > 0 && j.queuedBytes+int64(bytes) > j.o.MaxQueuedBytes && j.refusal(&e) == nil && !j.closing {
		j.wake() // all queued entries may be deferred, so that no other call would start the commit
		j.room.Wait()
	}
	if err := j.refusal(&e); err != nil {
		return 0, err
	}
	if j.closing {
		return 0, ErrClosed
	}
	lsn := j.next
	j.next++
	j.queue = append(j.queue, pending{Entry: e, lsn: lsn, bytes: bytes})
	j.queuedBytes += int64(bytes)
	if !e.Deferred {
		j.wake()
	}
	return lsn, nil
}

// Wake starts the commit of the queued entries on the journal's goroutine. It does not block.
func (j *Journal) Wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wake()
}

// wake signals the journal's goroutine if there are queued entries. If a goroutine commits already, wake does nothing,
// since commitAll checks the queue at its end. j.mu must be held.
func (j *Journal) wake() {
	if len(j.queue) > 0 && !j.committing {
		j.work.Signal()
	}
}

// refusal returns why the journal does not accept the entry e, or nil if it does. j.mu must be held.
func (j *Journal) refusal(e *Entry) error {
	switch {
	case j.fault != nil:
		return j.fault
	case e.Priority < j.lowestAccepted():
		return j.full
	}
	return nil
}

// GroupEnd returns the last LSN of the commit group whose Done functions are being called. It may be called from a Done
// whose error is nil. A Done with a lower LSN knows that further calls follow at once, so that work for the whole group
// can be left to the last call.
func (j *Journal) GroupEnd() LSN { return LSN(j.groupEnd.Load()) }

// Durable returns the LSN of the last durable entry. All entries before it are durable too.
func (j *Journal) Durable() LSN { return LSN(j.durable.Load()) }

// SizeBytes returns the size in bytes of the frames after the LSN of the last Release, which a recovery would have to
// read. It is exact to about 1/256 of a file.
func (j *Journal) SizeBytes() int64 { return j.files.sizeBytes() }

// Release declares that the entries up to upTo, inclusive, are no longer needed. The argument after of the next Open
// must be at least upTo. Entries that are not durable are not released. Files in which all entries are released are
// kept for reuse, or removed if there are many. Release does I/O. After an error the journal is as usable as before,
// and the next Open finds the files that could not be recycled.
func (j *Journal) Release(upTo LSN) error {
	return j.files.release(min(upTo, j.Durable()))
}

// Err returns why the journal is fenced, which matches ErrFenced, or nil if it is not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fault
}

// Close commits the queued entries, calls their Done functions, and closes the files. Append returns ErrClosed from now
// on. Close blocks until the last sync. It returns the fault if the journal is fenced, and otherwise an error of the
// last frame or of closing a file. Further calls wait for the first and return the same error.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closing = true
	j.work.Signal()
	j.room.Broadcast()
	j.mu.Unlock()
	<-j.ended
	return j.endErr
}

// noLimit is above every LSN.
const noLimit = LSN(math.MaxUint64)

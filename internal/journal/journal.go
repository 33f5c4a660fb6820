// Package journal is the one write-ahead journal of a broker: whatever must be durable, of all partitions, groups and
// producers, is an entry in it. One goroutine at a time takes everything that is queued, writes it as one frame, makes it
// durable by one sync and then says so to each entry's owner. There is no timer and no wait: alone, an entry pays one
// sync; under load a sync is shared by all who came during the one before. Entries that say so are answered once they
// are written, and synced later; a timer runs only while one of them has a deadline.
//
// That goroutine is the journal's own, or that of an appender who has nothing else to do (Lead) and so spares both ways
// the wake-up of a sleeping thread.
//
// When the disk is full nothing breaks: what was queued is refused, but for entries of a higher Rank, which have files
// kept back for them, and Resume goes on when there is room.
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

// LSN is a log sequence number: the first entry ever has 1, the next 2. 0 is before all entries.
type LSN uint64

// Kind tells what an entry's payload means. All values belong to the journal's user.
type Kind uint8

// Entry is something to be made durable.
type Entry struct {
	Kind Kind
	// Payload is stored joined, in order. Nobody may change it until Done is called. Its length is at most
	// MaxEntryBytes.
	Payload [][]byte
	// Sum, if SummedBytes is not 0, is the CRC-32C of the last SummedBytes bytes of the last part of Payload. It must be
	// right: a frame with a wrong one can't be read again.
	Sum         uint32
	SummedBytes int
	// Done is called once the entry is durable, or only written if SyncWithin says so (nil error), the journal is fenced
	// (an error matching ErrFenced), or the disk is full (ErrFull: the entry is not stored). It is called on the
	// goroutine that commits, one at a time and in order of LSN: it must not block, nor call a method that appends,
	// commits or closes. Nil: nobody wants to know.
	Done func(LSN, error)
	// SyncWithin is how long the entry may stay unsynced after Done. 0: Done is called after the sync. NoDeadline: until
	// another entry's sync, the end of the file, or Close. A written entry survives the process, not the machine.
	SyncWithin time.Duration
	// Rank says what becomes of the entry when the disk is full.
	Rank Rank
	// Quiet leaves it to the caller to have the entry committed, by Wake or Lead, when it has appended all it has. It
	// may be committed before. Without a call the entry waits for another's.
	Quiet bool
}

// Rank is how long entries are taken when the disk is full.
type Rank uint8

const (
	Ordinary Rank = iota // not at all
	Vital                // as long as what is kept back for them lasts
	Freeing              // longer than that: they delete something, or are a part of it, and so make room
)

// NoDeadline leaves the sync of an entry to others.
const NoDeadline time.Duration = -1

// MaxEntryBytes bounds the payload of one entry.
const MaxEntryBytes = 1 << 30

// Options say how a journal runs. The zero value of each field is the default named beside it.
type Options struct {
	FileBytes      int64        // 16 MiB: the length at which a new file is begun; an entry that is larger gets a file as large as it needs
	MaxGroupBytes  int          // 4 MiB: the most that one frame takes, unless a single entry is larger
	MaxQueuedBytes int64        // 64 MiB: what may wait or be under way before Append blocks
	Logger         *slog.Logger // slog.DiscardHandler

	// OnFault, if not nil, is told once why the journal is fenced, and OnFull why it is full, each time: after Done was
	// called for every entry that is refused. Both are called on the goroutine that commits, as Done is.
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
	// Whole sectors, and not more than a frame can say.
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
type Journal struct {
	dir string
	o   Options

	durable  atomic.Uint64 // the last LSN that is durable
	written  atomic.Uint64 // the last LSN that is in a file
	groupEnd atomic.Uint64 // the last LSN of those whose Done is called now
	refusals atomic.Uint64 // how often it has become full

	mu          sync.Mutex
	work        sync.Cond // the writer waits: something is to be done, and nobody commits
	room        sync.Cond // Append waits: queuedBytes fell, or the journal ended
	queue       []pending // what the writer takes next, in order of LSN
	free        []pending // the writer's other queue, empty, while it has none in work
	queuedBytes int64     // of entries in the queue and under way
	next        LSN       // what the next Append gets
	committing  bool      // somebody has taken entries and writes them: the writer, or who leads
	closing     bool
	fault       error // why fenced; matches ErrFenced
	full        error // why not all entries are taken; matches ErrFull
	spent       bool  // what is kept back for vital entries is used up too; with full only
	syncDue     bool  // the time of a written entry is over

	files files // has its own lock

	// The rest belongs to whoever commits.
	current *openFile
	frame   outFrame
	within  time.Time     // when what is written must be synced; zero: nothing has a deadline
	timer   *time.Timer   // fires at within
	ended   chan struct{} // closed when the writer is
	endErr  error         // what Close returns, valid when ended is closed
}

// pending is an entry with its number.
type pending struct {
	Entry
	lsn   LSN
	bytes int // in a frame, with its header
}

// Append gives the entry the next LSN and queues it. It blocks only while MaxQueuedBytes are queued. After an error,
// which matches ErrFenced, ErrFull, ErrClosed or ErrTooLarge, the entry is not queued and Done is not called. Should the
// journal become full before the entry is written, one of a higher Rank may get a lower LSN: Done tells the one it has.
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
	// Alone in the queue an entry always fits, however large it is.
	for j.queuedBytes > 0 && j.queuedBytes+int64(bytes) > j.o.MaxQueuedBytes && j.refuses(&e) == nil && !j.closing {
		j.wake() // what is queued may be quiet
		j.room.Wait()
	}
	if err := j.refuses(&e); err != nil {
		return 0, err
	}
	if j.closing {
		return 0, ErrClosed
	}
	lsn := j.next
	j.next++
	j.queue = append(j.queue, pending{Entry: e, lsn: lsn, bytes: bytes})
	j.queuedBytes += int64(bytes)
	if !e.Quiet {
		j.wake()
	}
	return lsn, nil
}

// Wake has what is queued committed by the journal's goroutine.
func (j *Journal) Wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wake()
}

// wake tells the writer of entries, unless somebody is at work, who looks at the queue when that is done. With mu held.
func (j *Journal) wake() {
	if len(j.queue) > 0 && !j.committing {
		j.work.Signal()
	}
}

// refuses says why an entry can't be taken, or nil. With mu held.
func (j *Journal) refuses(e *Entry) error {
	switch {
	case j.fault != nil:
		return j.fault
	case e.Rank < j.lowest():
		return j.full
	}
	return nil
}

// GroupEnd returns, during a call of Done without error, the last LSN of those that are answered with it. A Done that
// has a lower LSN will be followed by another at once.
func (j *Journal) GroupEnd() LSN { return LSN(j.groupEnd.Load()) }

// Durable returns the LSN up to which, inclusive, everything is durable.
func (j *Journal) Durable() LSN { return LSN(j.durable.Load()) }

// SizeBytes returns how much was written since what the last Release named, to about 1/256 of a file: what a recovery
// would have to read.
func (j *Journal) SizeBytes() int64 { return j.files.sizeBytes() }

// Release says that entries up to and including upTo are no longer needed: the next Open will be told so by its after.
// Files wholly below are kept for reuse, or removed where there are many. An error leaves the journal as usable as
// before; the files concerned are found again by the next Open.
func (j *Journal) Release(upTo LSN) error {
	return j.files.release(min(upTo, j.Durable()))
}

// Err returns why the journal is fenced, matching ErrFenced, or nil.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fault
}

// Close commits what is queued, calls Done for it, and closes the files. It returns the reason if the journal is
// fenced. Closing again waits for the first to end and returns the same.
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

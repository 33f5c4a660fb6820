package story

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"tidings.dev/internal/obligation"
)

// note is what a reaction recorded about one event beyond that it is done, for example a failed attempt. The bucket
// notes has the newest note of each listener and offset:
//
//	│ kind uint │ order int │ attempts uint │ text string │ at time │ next time │ since time │
type note struct {
	kind     noteKind
	order    int64     // offset of the record in tidings.reactions that the note comes from
	attempts int       // number of failed attempts; with noteRetried, noteRetrying and noteRunning
	text     string    // the reason of a skip, or the error of the last failed attempt
	at, next time.Time // at: when it happened; next: when the next attempt is due, with noteRetrying
	since    time.Time // time of the first failure with noteRetrying; when the handler was called with noteRunning
}

// noteKind is the kind of a note. The numbers are stored in the index file and must not change.
type noteKind uint8

const (
	// noteSkipped says that the event was skipped. text is the reason.
	noteSkipped noteKind = 1 + iota
	// noteRetried says that the event was done after failed attempts.
	noteRetried
	// noteRetrying says that the event is not done and that attempts have failed.
	noteRetrying
	// noteDuplicate says that the record is a copy of an event that had been done before.
	noteDuplicate
	// noteRunning says that the event is not done and that its handler was running at the time of the note.
	noteRunning
)

func (n *note) encode() []byte {
	w := rowWriter{make([]byte, 0, 24+len(n.text))}
	w.uint(uint64(n.kind))
	w.int(n.order)
	w.uint(uint64(n.attempts))
	w.string(n.text)
	w.time(n.at)
	w.time(n.next)
	w.time(n.since)
	return w.b
}

func decodeNote(b []byte) (note, error) {
	r := newRowReader(b)
	n := note{kind: noteKind(r.Uvarint()), order: r.Varint(), attempts: int(r.Uvarint()), text: r.Text(), at: r.time(), next: r.time(), since: r.time()}
	return n, r.Err()
}

// addNotes adds the notes that a record of marks contains. order is the offset of the record in tidings.reactions.
func (tx *writeTx) addNotes(li *listener, m *obligation.Marks, order int64) {
	put := func(offset int64, n note) { tx.put(tx.notes, noteKey(li.num, m.Partition, offset), n.encode()) }
	for _, s := range m.Skipped {
		put(s.Offset, note{kind: noteSkipped, order: order, text: s.Reason, at: m.Finished})
	}
	for _, r := range m.Retried {
		put(r.Offset, note{kind: noteRetried, order: order, attempts: r.Attempts, text: r.Error, at: m.Finished})
	}
	for _, o := range m.Duplicates {
		put(o, note{kind: noteDuplicate, order: order, at: m.Finished})
	}
	for _, c := range m.Copies {
		put(c.Offset, note{kind: noteDuplicate, order: order, at: m.Finished})
	}
}

// newestNote returns the newest note of a listener on any copy of an event. ok is false if there is none.
func (tx *readTx) newestNote(li *listener, e *locatedEvent) (newest note, ok bool) {
	for _, offset := range e.offsets() {
		b := tx.bolt.Bucket(bucketNotes).Get(noteKey(li.num, e.Partition, offset))
		if b == nil {
			continue
		}
		n, err := decodeNote(b)
		if err != nil {
			tx.fail(err)
			continue
		}
		if !ok || n.order > newest.order {
			newest, ok = n, true
		}
	}
	return newest, ok
}

// Timings of handlers are stored in blocks of 256 offsets: the bucket times has one row for each block and record of
// marks, so that a busy block needs a few rows instead of 256. A row is a sequence of triples, one for each event:
//
//	│ offset int │ took in microseconds int │ finished in microseconds int │ …
//	offset, finished   the difference from those of the triple before; of the first triple, from the block's first offset and from 0
const (
	timesBlockBits = 8
)

// addTimings adds the timings that a record of marks contains. order is the offset of the record in
// tidings.reactions.
func (tx *writeTx) addTimings(li *listener, m *obligation.Marks, order int64) {
	var w rowWriter
	var block, offset, finished int64
	write := func() {
		if len(w.b) > 0 {
			tx.put(tx.times, timesKey(li.num, m.Partition, block, order), w.b)
		}
	}
	slices.SortStableFunc(m.Times, func(a, b obligation.Timing) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, t := range m.Times {
		if of := t.Offset >> timesBlockBits; w.b == nil || of != block {
			write()
			w.b = make([]byte, 0, 256)
			block, offset, finished = of, of<<timesBlockBits, 0
		}
		at := t.Finished.UnixMicro()
		w.int(t.Offset - offset)
		w.int(t.Took.Microseconds())
		w.int(at - finished)
		offset, finished = t.Offset, at
	}
	write()
}

// timing is how long a handler ran for an event, and when it returned.
type timing struct {
	took     time.Duration
	finished time.Time
	order    int64 // offset of the record in tidings.reactions that the timing comes from
}

// newestTiming returns the newest timing of a listener for any copy of an event. ok is false if there is none.
func (tx *readTx) newestTiming(li *listener, e *locatedEvent) (newest timing, ok bool) {
	for _, offset := range e.offsets() {
		prefix := noteKey(li.num, e.Partition, offset>>timesBlockBits) // timesKey without the order
		c := tx.bolt.Bucket(bucketTimes).Cursor()
		for k, b := c.Seek(prefix); len(k) == len(prefix)+8 && bytes.HasPrefix(k, prefix); k, b = c.Next() {
			order := int64(binary.BigEndian.Uint64(k[len(prefix):]))
			if ok && order < newest.order {
				continue
			}
			at, finished := offset>>timesBlockBits<<timesBlockBits, int64(0)
			for r := newRowReader(b); r.Len() > 0; {
				at += r.Varint()
				took := r.Varint()
				finished += r.Varint()
				if !r.OK() {
					tx.fail(r.Err())
				} else if at == offset {
					newest, ok = timing{time.Duration(took) * time.Microsecond, time.UnixMicro(finished).UTC(), order}, true
				}
			}
		}
	}
	return newest, ok
}

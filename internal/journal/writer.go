package journal

import (
	"errors"
	"fmt"
	"time"

	"tidings.dev/internal/vfs"
)

// openFile is the file that is being written.
type openFile struct {
	f             vfs.File
	generation    uint64
	sizeBytes     int64 // as it was before the first frame
	positionBytes int64 // where the next frame goes
	short         bool  // the last frame was, and was synced at once
}

const (
	// keepFrameBytes is how much larger than MaxGroupBytes the frame buffer may stay; what one large entry needed is
	// given back.
	keepFrameBytes = 2 << 20
	// shortFrameBytes is how long a frame may be that passes by the page cache.
	shortFrameBytes = 64 << 10
	// keepEntries is up to which capacity a queue is kept for reuse.
	keepEntries = 64 << 10
)

// run is the writer: it ends when the journal is closing and the queue is empty.
func (j *Journal) run() {
	defer close(j.ended)
	for {
		taken, due := j.await()
		if len(taken) == 0 && !due {
			j.endErr = j.end()
			return
		}
		j.commitAll(taken, due)
	}
}

// Lead has what is queued committed, by the calling goroutine if nobody is at it and it is one group: it blocks for about
// one sync then, and calls the Done of all these entries. Otherwise it is Wake.
func (j *Journal) Lead() {
	j.mu.Lock()
	if len(j.queue) == 0 || j.committing || j.closing || j.queuedBytes > int64(j.o.MaxGroupBytes) {
		j.wake()
		j.mu.Unlock()
		return
	}
	taken, due := j.take()
	j.mu.Unlock()

	j.commitAll(taken, due)
}

// await waits until nobody else commits and there is something to do, and takes it. Nothing at all: the journal is
// closing. The writer commits from then on.
func (j *Journal) await() (taken []pending, due bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.committing || !j.hasWork() {
		j.work.Wait()
	}
	return j.take()
}

// hasWork says whether the writer has something to do. With mu held.
func (j *Journal) hasWork() bool { return len(j.queue) > 0 || j.closing || j.syncDue }

// take returns all entries there are, and whether a sync is due whatever they want. The caller commits from then on. With
// mu held.
func (j *Journal) take() (taken []pending, due bool) {
	taken, due = j.queue, j.syncDue
	j.queue, j.free = j.free[:0], nil
	j.syncDue, j.committing = false, true
	return taken, due
}

// commitAll commits what was taken, group by group, answers, and leaves what has come meanwhile to the writer.
func (j *Journal) commitAll(taken []pending, due bool) {
	for rest := taken; len(rest) > 0; {
		group := rest[:j.groupLen(rest)]
		err := j.commit(group, due)
		if errors.Is(err, ErrFull) && !errors.Is(err, ErrFenced) {
			rest = j.shed(rest, err)
			continue
		}
		due = false
		rest = rest[len(group):]
		j.answer(group, err)
	}
	if due {
		j.settle()
	}
	clear(taken) // keeps no payload alive
	j.mu.Lock()
	defer j.mu.Unlock()
	if cap(taken) <= keepEntries {
		j.free = taken[:0]
	}
	j.committing = false
	if j.hasWork() {
		j.work.Signal()
	}
}

// groupLen returns how many of the entries go into the next frame.
func (j *Journal) groupLen(entries []pending) int {
	bytes := 0
	for i := range entries {
		if bytes += entries[i].bytes; bytes > j.o.MaxGroupBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// commit writes a group as one frame and makes it durable, if one of it wants that or a sync is due. Any error fences
// the journal, and once it is fenced nothing is written; but for want of room: then the error is ErrFull, and nothing has
// happened.
func (j *Journal) commit(group []pending, due bool) error {
	if err := j.Err(); err != nil {
		return err
	}
	frame := &j.frame
	frame.begin()
	defer j.spareFrame()
	within := NoDeadline
	for i := range group {
		frame.add(&group[i].Entry, group[i].bytes-entryHeaderBytes)
		if w := group[i].SyncWithin; w >= 0 && (within < 0 || w < within) {
			within = w
		}
	}
	h := header{first: group[0].lsn, durable: j.Durable(), count: uint32(len(group))}
	synced := within == 0 || due
	if err := j.writeFrame(h, synced); err != nil {
		if errors.Is(err, ErrFull) {
			return err
		}
		return j.fence(err)
	}
	if synced {
		if err := j.sync(); err != nil {
			return j.fence(err)
		}
	} else if within > 0 {
		j.arm(within)
	}
	return nil
}

// spareFrame forgets what a frame was made of and keeps its memory for the next, within bounds.
func (j *Journal) spareFrame() {
	j.frame.drop()
	if cap(j.frame.gathered) > j.o.MaxGroupBytes+keepFrameBytes {
		j.frame.gathered = nil
	}
}

// writeFrame writes j.frame to the current file, or to a new one if that has no room for it; synced says that a sync
// follows. An error that matches ErrFull has changed nothing.
func (j *Journal) writeFrame(h header, synced bool) error {
	size := j.frame.sizeBytes()
	// The last sector of a file stays free for the frame that ends it.
	if j.current == nil || j.current.positionBytes > 0 && j.current.positionBytes+size > j.current.sizeBytes-frameAlign {
		if err := j.roll(size); err != nil {
			return err
		}
	}
	begins := j.current.positionBytes == 0
	h.durable = j.Durable() // beginning a file has made more durable
	if err := j.writeTo(j.current, h, synced); err != nil {
		return err
	}
	last := h.first + LSN(h.count) - 1
	j.written.Store(uint64(last))
	j.files.written(j.current, h.first, last, size, begins)
	if j.current.positionBytes > j.current.sizeBytes/2 {
		j.files.prepare()
	}
	return nil
}

// writeTo seals j.frame and writes it to a file.
func (j *Journal) writeTo(file *openFile, h header, synced bool) error {
	h.generation = file.generation
	h.fileSectors = uint32(file.sizeBytes / frameAlign)
	size := j.frame.sizeBytes()
	parts := j.frame.seal(h)
	if end := file.positionBytes + size; end > file.sizeBytes {
		// Larger than its file. Taking the blocks first tells a full disk from a failed write.
		if err := file.f.Allocate(end); err != nil {
			return fullError(err)
		}
	}
	if _, err := file.f.WriteParts(parts, file.positionBytes, file.hint(size, synced)); err != nil {
		return err
	}
	file.positionBytes += size
	return nil
}

// hint says what comes after a frame. Recycled files are in the page cache, where a large frame costs a copy, and passing
// it by costs a sync more than it saves; a short one is on the disk sooner past it (ADR 11). The first short one after
// others goes to the cache all the same: it may be the only one, and the next large one would have to read the page that
// both are in.
func (f *openFile) hint(frameBytes int64, synced bool) vfs.Hint {
	before := f.short
	f.short = synced && frameBytes <= shortFrameBytes
	if before && f.short {
		return vfs.WillSync
	}
	return vfs.NoHint
}

// sync makes durable whatever is written.
func (j *Journal) sync() error {
	if err := j.current.f.Sync(); err != nil {
		return err
	}
	j.durable.Store(j.written.Load())
	j.files.synced()
	j.disarm()
	return nil
}

// settle makes durable what is written and has waited long enough.
func (j *Journal) settle() {
	if j.Err() != nil || j.durable.Load() == j.written.Load() {
		return
	}
	if err := j.sync(); err != nil {
		j.fence(err)
	}
}

// arm sees to it that what is written is synced within a time, unless it will be sooner.
func (j *Journal) arm(within time.Duration) {
	deadline := time.Now().Add(within)
	if !j.within.IsZero() && !deadline.Before(j.within) {
		return
	}
	j.within = deadline
	if j.timer != nil {
		j.timer.Reset(within)
		return
	}
	j.timer = time.AfterFunc(within, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.syncDue = true
		if !j.committing {
			j.work.Signal()
		}
	})
}

// disarm stops the timer: nothing is unsynced. Had it fired already, a sync of nothing does no harm.
func (j *Journal) disarm() {
	if j.within.IsZero() {
		return
	}
	j.within = time.Time{}
	j.timer.Stop()
}

// roll begins a new file and closes the current one, if there is one. What is written and not yet synced is made
// durable first, so that only the last file ever has frames that may be lost.
func (j *Journal) roll(frameBytes int64) error {
	if j.durable.Load() < j.written.Load() {
		if err := j.sync(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	rank := j.lowest()
	j.mu.Unlock()
	next, err := j.files.begin(frameBytes, rank)
	if err != nil {
		return fmt.Errorf("begin a journal file: %w", err)
	}
	old := j.current
	j.current = next
	if old == nil {
		return nil
	}
	return old.f.Close()
}

// fence ends all writing because of cause and returns the error that everybody gets from now on.
func (j *Journal) fence(cause error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault == nil {
		j.fault = fmt.Errorf("%w: %w", ErrFenced, cause)
		j.room.Broadcast()
		j.o.Logger.Error("journal fenced: nothing more is accepted until a restart", "dir", j.dir, "cause", cause)
		if j.o.OnFault != nil {
			defer j.o.OnFault(j.fault)
		}
	}
	return j.fault
}

// answer makes room and tells the owners of a group what became of it.
func (j *Journal) answer(group []pending, err error) {
	bytes := int64(0)
	for i := range group {
		bytes += int64(group[i].bytes)
	}
	j.mu.Lock()
	j.queuedBytes -= bytes
	j.room.Broadcast()
	j.mu.Unlock()
	j.groupEnd.Store(uint64(group[len(group)-1].lsn))
	for i := range group {
		if done := group[i].Done; done != nil {
			done(group[i].lsn, err)
		}
	}
}

// end writes the frame that says that the journal was closed in good order, unless it is fenced, and closes all.
func (j *Journal) end() error {
	j.settle()
	err := j.Err()
	if err == nil {
		h := header{first: j.Durable() + 1, durable: j.Durable(), flags: flagEnd}
		j.frame.begin()
		if err = j.writeTo(j.current, h, true); err == nil {
			err = j.current.f.Sync()
		}
		if err != nil {
			err = fmt.Errorf("end the journal: %w", err)
		}
	}
	j.disarm()
	if closeErr := j.files.close(err != nil); err == nil && closeErr != nil {
		err = fmt.Errorf("end the journal: %w", closeErr)
	}
	if j.current != nil {
		if closeErr := j.current.f.Close(); err == nil {
			err = closeErr
		}
		j.current = nil
	}
	j.frame = outFrame{}
	return err
}

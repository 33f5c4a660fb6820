package journal

import (
	"errors"
	"fmt"
	"time"

	"tidings.dev/internal/vfs"
)

// openFile is a journal file that is open for writing.
type openFile struct {
	f             vfs.File
	generation    uint64
	sizeBytes     int64 // length of the file before its first frame
	positionBytes int64 // position of the next frame; a multiple of frameAlign
	short         bool  // the last frame was short and was synced at once: see hint
}

const (
	// keepFrameBytes is how much larger than MaxGroupBytes the memory of a frame may be without being freed after the
	// frame. Larger memory, which a single large entry has needed, is left to the garbage collector.
	keepFrameBytes = 2 << 20
	// shortFrameBytes is the length in bytes up to which a frame is written past the page cache.
	shortFrameBytes = 64 << 10
	// keepEntries is the capacity, in entries, up to which the memory of a queue is kept.
	keepEntries = 64 << 10
)

// run is the journal's goroutine. It commits the entries that no caller of CommitInline commits. When the journal is
// closing and the queue is empty, run ends the journal.
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

// CommitInline commits the queued entries on the calling goroutine: it blocks for about one sync and calls the Done
// functions of these entries. If another goroutine commits, or if more entries are queued than fit one group, it does
// what Wake does. It is for callers that would wait for the commit anyway.
func (j *Journal) CommitInline() {
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

// await waits until there is work and no other goroutine commits, and then takes the work as take does. If it returns
// neither entries nor a due sync, the journal is closing.
func (j *Journal) await() (taken []pending, due bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.committing || !j.hasWork() {
		j.work.Wait()
	}
	return j.take()
}

// hasWork reports whether entries are queued, a sync is due, or the journal is closing. j.mu must be held.
func (j *Journal) hasWork() bool { return len(j.queue) > 0 || j.closing || j.syncDue }

// take returns all queued entries, and whether a sync is due whatever these entries ask for. From then on the caller is
// the goroutine that commits, and it must call commitAll. j.mu must be held, and committing must be false.
func (j *Journal) take() (taken []pending, due bool) {
	taken, due = j.queue, j.syncDue
	j.queue, j.free = j.free[:0], nil
	j.syncDue, j.committing = false, true
	return taken, due
}

// commitAll commits the entries of taken, group by group, and calls their Done functions. At the end it signals the
// journal's goroutine if more entries were queued meanwhile.
func (j *Journal) commitAll(taken []pending, due bool) {
	for rest := taken; len(rest) > 0; {
		group := rest[:j.groupLen(rest)]
		err := j.commit(group, due)
		if errors.Is(err, ErrFull) && !errors.Is(err, ErrFenced) {
			rest = j.refuseLowest(rest, err)
			continue
		}
		due = false
		rest = rest[len(group):]
		j.answer(group, err)
	}
	if due {
		j.syncOverdue()
	}
	clear(taken) // otherwise the memory would keep payloads alive
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

// groupLen returns how many of the entries the next frame contains. It is at least 1.
func (j *Journal) groupLen(entries []pending) int {
	bytes := 0
	for i := range entries {
		if bytes += entries[i].bytes; bytes > j.o.MaxGroupBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// commit writes a group of entries as one frame. It syncs if an entry of the group asks for that or if due is true. If
// the error matches ErrFull and not ErrFenced, nothing was changed. Any other error fences the journal. On a fenced
// journal commit writes nothing.
func (j *Journal) commit(group []pending, due bool) error {
	if err := j.Err(); err != nil {
		return err
	}
	frame := &j.frame
	frame.begin()
	defer j.resetFrame()
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

// resetFrame drops the references to payloads and keeps the frame's memory for the next frame, unless it is too large.
func (j *Journal) resetFrame() {
	j.frame.drop()
	if cap(j.frame.gathered) > j.o.MaxGroupBytes+keepFrameBytes {
		j.frame.gathered = nil
	}
}

// writeFrame writes j.frame with the header h to the current file, or to a new file if the current one has no space for
// it. synced tells whether a sync will follow. If the error matches ErrFull, nothing was changed.
func (j *Journal) writeFrame(h header, synced bool) error {
	size := j.frame.sizeBytes()
	// The last sector of a file stays free for the frame that marks a clean close.
	if j.current == nil || j.current.positionBytes > 0 && j.current.positionBytes+size > j.current.sizeBytes-frameAlign {
		if err := j.roll(size); err != nil {
			return err
		}
	}
	begins := j.current.positionBytes == 0
	h.durable = j.Durable() // roll may have synced, so that more entries are durable
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

// writeTo seals j.frame with the header h and writes it to file. If the error matches ErrFull, nothing was changed.
func (j *Journal) writeTo(file *openFile, h header, synced bool) error {
	h.generation = file.generation
	h.fileSectors = uint32(file.sizeBytes / frameAlign)
	size := j.frame.sizeBytes()
	parts := j.frame.seal(h)
	if end := file.positionBytes + size; end > file.sizeBytes {
		// The frame is larger than the rest of its file. Allocate first, so that a full disk can be told from a failed
		// write.
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

// hint returns the hint for a write of a frame. Recycled files are in the page cache. A large frame is written to the
// page cache: a write past it would save a copy, but would make the sync slower by more than that. A short frame
// reaches the disk sooner past the page cache (docs/adr/0011). The first short frame after other frames goes to the
// page cache all the same: there may be only one, and the next large frame would have to read the page that both share.
func (f *openFile) hint(frameBytes int64, synced bool) vfs.Hint {
	before := f.short
	f.short = synced && frameBytes <= shortFrameBytes
	if before && f.short {
		return vfs.WillSync
	}
	return vfs.NoHint
}

// sync makes all written entries durable and stops the timer.
func (j *Journal) sync() error {
	if err := j.current.f.Sync(); err != nil {
		return err
	}
	j.durable.Store(j.written.Load())
	j.files.synced()
	j.disarm()
	return nil
}

// syncOverdue makes all written entries durable, after their deadline or at the end of the journal. An error fences the
// journal.
func (j *Journal) syncOverdue() {
	if j.Err() != nil || j.durable.Load() == j.written.Load() {
		return
	}
	if err := j.sync(); err != nil {
		j.fence(err)
	}
}

// arm sets the timer so that the written entries are synced within the given time, unless an earlier deadline is set
// already.
func (j *Journal) arm(within time.Duration) {
	deadline := time.Now().Add(within)
	if !j.deadline.IsZero() && !deadline.Before(j.deadline) {
		return
	}
	j.deadline = deadline
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

// disarm stops the timer, because all written entries are synced. If the timer has fired already, the sync that it
// causes does no harm.
func (j *Journal) disarm() {
	if j.deadline.IsZero() {
		return
	}
	j.deadline = time.Time{}
	j.timer.Stop()
}

// roll begins a new file and closes the current one, if there is one. It syncs the current file first, so that only the
// last file can have frames which are not durable. If the error matches ErrFull, nothing else was changed.
func (j *Journal) roll(frameBytes int64) error {
	if j.durable.Load() < j.written.Load() {
		if err := j.sync(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	priority := j.lowestAccepted()
	j.mu.Unlock()
	next, err := j.files.beginFile(frameBytes, priority)
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

// fence stops all writes for good and returns the error that all later calls get. Only the first call sets that error,
// with its cause, and calls OnFault. The goroutine that commits calls fence. j.mu must not be held.
func (j *Journal) fence(cause error) error {
	j.mu.Lock()
	first := j.fault == nil
	if first {
		j.fault = fmt.Errorf("%w: %w", ErrFenced, cause)
		j.room.Broadcast()
	}
	fault := j.fault
	j.mu.Unlock()

	if first {
		j.o.Logger.Error("journal fenced: nothing more is accepted until a restart", "dir", j.dir, "cause", cause)
		if j.o.OnFault != nil {
			j.o.OnFault(fault)
		}
	}
	return fault
}

// answer subtracts the group from queuedBytes, wakes waiting Appends, and calls the Done functions of the group.
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

// end writes the frame that marks a clean close, unless the journal is fenced, and closes all files.
func (j *Journal) end() error {
	j.syncOverdue()
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

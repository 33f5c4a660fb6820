package journal

import (
	"fmt"

	"tidings.dev/internal/vfs"
)

// openFile is the file that is being written.
type openFile struct {
	f             vfs.File
	generation    uint64
	sizeBytes     int64 // as it was before the first frame
	positionBytes int64 // where the next frame goes
}

const (
	// keepFrameBytes is how much larger than MaxGroupBytes the frame buffer may stay; what one large entry needed is
	// given back.
	keepFrameBytes = 2 << 20
	// keepEntries is up to which capacity a queue is kept for reuse.
	keepEntries = 64 << 10
)

// run is the writer: it ends when the journal is closing and the queue is empty.
func (j *Journal) run() {
	defer close(j.ended)
	for {
		taken := j.take()
		if len(taken) == 0 {
			j.endErr = j.end()
			return
		}
		for rest := taken; len(rest) > 0; {
			group := rest[:j.groupLen(rest)]
			rest = rest[len(group):]
			j.answer(group, j.commit(group))
		}
		clear(taken) // keeps no payload alive
		if cap(taken) <= keepEntries {
			j.mu.Lock()
			j.free = taken[:0]
			j.mu.Unlock()
		}
	}
}

// take waits for entries and returns all there are, or none when the journal is closing.
func (j *Journal) take() []pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && !j.closing {
		j.work.Wait()
	}
	taken := j.queue
	j.queue, j.free = j.free[:0], nil
	return taken
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

// commit makes a group durable as one frame. Any error fences the journal, and once it is fenced nothing is written.
func (j *Journal) commit(group []pending) error {
	if err := j.Err(); err != nil {
		return err
	}
	frame := beginFrame(j.frame)
	for i := range group {
		frame = appendEntry(frame, &group[i].Entry)
	}
	h := header{first: group[0].lsn, durable: j.Durable(), count: uint32(len(group))}
	if err := j.writeFrame(frame, h); err != nil {
		return j.fence(err)
	}
	j.durable.Store(uint64(group[len(group)-1].lsn))
	return nil
}

// writeFrame writes the frame to the current file, or to a new one if that is full, and makes it durable.
func (j *Journal) writeFrame(frame []byte, h header) error {
	size := frameBytes(int64(len(frame) - headerBytes))
	// The last sector of a file stays free for the frame that ends it.
	begins := j.current == nil ||
		j.current.positionBytes > 0 && j.current.positionBytes+size > j.current.sizeBytes-frameAlign
	if begins {
		if err := j.roll(); err != nil {
			return err
		}
	}
	if err := j.writeTo(j.current, frame, h); err != nil {
		return err
	}
	j.files.written(j.current, h.first, h.first+LSN(h.count)-1, size, begins)
	if j.current.positionBytes > j.current.sizeBytes/2 {
		j.files.prepareSpare()
	}
	return nil
}

// writeTo seals a frame, writes it to a file and syncs.
func (j *Journal) writeTo(file *openFile, frame []byte, h header) error {
	h.generation = file.generation
	h.fileSectors = uint32(file.sizeBytes / frameAlign)
	frame = sealFrame(frame, h)
	if cap(frame) <= j.o.MaxGroupBytes+keepFrameBytes {
		j.frame = frame
	} else {
		j.frame = nil
	}
	if _, err := file.f.WriteAt(frame, file.positionBytes); err != nil {
		return err
	}
	if err := file.f.Sync(); err != nil {
		return err
	}
	file.positionBytes += int64(len(frame))
	return nil
}

// roll begins a new file and closes the current one, if there is one.
func (j *Journal) roll() error {
	next, err := j.files.begin()
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
	j.fault = fmt.Errorf("%w: %w", ErrFenced, cause)
	j.room.Broadcast()
	j.o.Logger.Error("journal fenced: nothing more is accepted until a restart", "dir", j.dir, "cause", cause)
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
	for i := range group {
		if done := group[i].Done; done != nil {
			done(group[i].lsn, err)
		}
	}
}

// end writes the frame that says that the journal was closed in good order, unless it is fenced, and closes all.
func (j *Journal) end() error {
	err := j.Err()
	if err == nil {
		h := header{first: j.Durable() + 1, durable: j.Durable(), flags: flagEnd}
		if err = j.writeTo(j.current, beginFrame(j.frame), h); err != nil {
			err = fmt.Errorf("end the journal: %w", err)
		}
	}
	j.files.close()
	if j.current != nil {
		if closeErr := j.current.f.Close(); err == nil {
			err = closeErr
		}
		j.current = nil
	}
	j.frame = nil
	return err
}

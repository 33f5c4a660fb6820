package journal

import "sync"

// ahead gives out the frames of a file from its beginning. A goroutine reads and checks what comes next while the caller
// is busy with what came before: a recovery spends about as much time on the one as on the other.
type ahead struct {
	rd     *reader
	read   chan *window // in order; closed when nothing more comes
	unused chan *window
	ending chan struct{}
	ended  sync.WaitGroup
	now    *window // whose frames are given out
	given  int     // of them
}

// window is a stretch of a file, in memory, and the frames in it.
type window struct {
	buffer []byte
	frames []frame
	last   bool  // no whole frame follows
	err    error // of reading on
}

// windows is how many there are at most: one the caller has, one that waits for it, one that is read.
const windows = 3

// readFrames begins to read. The caller ends it by end.
func (r *recovery) readFrames(rd *reader) *ahead {
	for len(r.windows) < windows {
		r.windows = append(r.windows, &window{})
	}
	a := &ahead{rd: rd, read: make(chan *window, windows), unused: make(chan *window, windows), ending: make(chan struct{})}
	for _, w := range r.windows {
		a.unused <- w
	}
	a.ended.Go(a.run)
	return a
}

// run fills windows until there is no more or nobody wants it.
func (a *ahead) run() {
	defer close(a.read)
	for position := int64(0); ; {
		var w *window
		select {
		case <-a.ending:
			return
		case w = <-a.unused:
		}
		position = w.fill(a.rd, position)
		a.read <- w
		if w.last {
			return
		}
	}
}

// fill reads frames from a position on, about as many bytes as a reader asks for at once, and returns where they end.
func (w *window) fill(rd *reader, position int64) int64 {
	part := &reader{f: rd.f, name: rd.name, generation: rd.generation, sizeBytes: rd.sizeBytes,
		buffer: w.buffer[:0], startBytes: position, keeps: true}
	w.frames, w.last, w.err = w.frames[:0], false, nil
	for from := position; position-from < readAhead; {
		f, ok, err := part.frame(position)
		if w.err = err; err != nil || !ok {
			w.last = true
			break
		}
		w.frames = append(w.frames, f)
		position += f.sizeBytes
	}
	w.buffer = part.buffer
	return position
}

// next returns the next frame, good until the call after; ok and err are those of reader.frame where it should stand.
func (a *ahead) next() (f frame, ok bool, err error) {
	for a.now == nil || a.given == len(a.now.frames) {
		if a.now != nil {
			if a.now.last {
				return frame{}, false, a.now.err
			}
			a.unused <- a.now
		}
		a.now, a.given = <-a.read, 0
	}
	f = a.now.frames[a.given]
	a.given++
	return f, true, nil
}

// end returns when nothing is read any more.
func (a *ahead) end() {
	close(a.ending)
	a.ended.Wait()
}

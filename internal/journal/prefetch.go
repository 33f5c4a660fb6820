package journal

import "sync"

// prefetcher reads and checks the frames of a file, from its beginning, on a goroutine of its own, while the recovery
// replays earlier frames. Reading and replaying take about the same time.
type prefetcher struct {
	rd    *reader
	read  chan *chunk   // chunks that the goroutine has read, in the order of positions; closed after the last
	free  chan *chunk   // chunks that the goroutine may fill, because their frames were returned
	stop  chan struct{} // closed by end
	ended sync.WaitGroup

	// These fields belong to the goroutine that calls next and end.
	current   *chunk // the chunk whose frames next returns; nil before the first call
	delivered int    // number of frames of current that were returned
}

// chunk is a part of a file in memory, with the whole frames in it. It belongs to the prefetcher's goroutine from the
// time when that receives it from free until it sends it to read, and otherwise to the goroutine that calls next.
type chunk struct {
	buffer []byte
	frames []frame // their bodies are parts of buffer
	last   bool    // no whole frame follows after frames
	err    error   // error of reading what follows after frames
}

// maxChunks is the number of chunks that a prefetcher works with: one whose frames the caller is going through, one that is
// ready for the caller, and one that the goroutine is filling from the file.
const maxChunks = 3

// prefetch starts to read the file of rd and returns the prefetcher. It does not use rd's buffer. The caller must call
// end, and before that must call no method of rd that reads.
func (r *recovery) prefetch(rd *reader) *prefetcher {
	for len(r.chunks) < maxChunks {
		r.chunks = append(r.chunks, &chunk{})
	}
	a := &prefetcher{rd: rd, read: make(chan *chunk, maxChunks), free: make(chan *chunk, maxChunks), stop: make(chan struct{})}
	for _, w := range r.chunks {
		a.free <- w
	}
	a.ended.Go(a.run)
	return a
}

// run reads chunks until there is no whole frame any more or end is called.
func (a *prefetcher) run() {
	defer close(a.read)
	for position := int64(0); ; {
		var w *chunk
		select {
		case <-a.stop:
			return
		case w = <-a.free:
		}
		position = w.read(a.rd, position)
		a.read <- w
		if w.last {
			return
		}
	}
}

// read fills w with the frames from position on, about readerBytes of them, and returns the position after the last. If
// a frame cannot be read, it sets w.last, and w.err if the reason is an error.
func (w *chunk) read(rd *reader, position int64) int64 {
	part := &reader{f: rd.f, name: rd.name, generation: rd.generation, sizeBytes: rd.sizeBytes,
		buffer: w.buffer[:0], startBytes: position, retains: true}
	w.frames, w.last, w.err = w.frames[:0], false, nil
	for from := position; position-from < readerBytes; {
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

// next returns the next frame, whose body is valid until the next call. After the last frame it returns the ok and err
// that reader.frame returned at the end.
func (a *prefetcher) next() (f frame, ok bool, err error) {
	for a.current == nil || a.delivered == len(a.current.frames) {
		if a.current != nil {
			if a.current.last {
				return frame{}, false, a.current.err
			}
			a.free <- a.current
		}
		a.current, a.delivered = <-a.read, 0
	}
	f = a.current.frames[a.delivered]
	a.delivered++
	return f, true, nil
}

// end stops the goroutine and blocks until it has ended. After that the file can be closed and the chunks can be used
// again.
func (a *prefetcher) end() {
	close(a.stop)
	a.ended.Wait()
}

package partition

import "sync"

// hint says where the batch with this base offset is: where an earlier read ended.
type hint struct {
	segment          SegmentName
	offset, position int64
}

// hints spare sequential readers the index. A hint is only a guess: readAt checks what it leads to. The zero value is
// ready.
type hints struct {
	mu   sync.Mutex
	ring []hint
	at   int
	read map[SegmentName]int64 // how many bytes of each segment were read in order
}

// maxHints is how many sequential readers of one log's history are remembered.
const maxHints = 32

func (h *hints) find(segment SegmentName, offset int64) (position int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.ring {
		if x.segment == segment && x.offset == offset {
			return x.position, true
		}
	}
	return 0, false
}

func (h *hints) keep(x hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < maxHints {
		h.ring = append(h.ring, x)
		return
	}
	h.ring[h.at] = x
	h.at = (h.at + 1) % maxHints
}

// isFirst notes that so many bytes of a segment are read in order, and says whether they are, as far as can be told, for
// the first time. History that is read once is better read past the page cache: filling it costs more than the reading.
// What is read again is better kept there.
func (h *hints) isFirst(seg *segment, bytes int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read == nil {
		h.read = map[SegmentName]int64{}
	}
	before := h.read[seg.SegmentName]
	h.read[seg.SegmentName] = before + bytes
	return before < seg.SizeBytes
}

// forget lets go what is known of a segment that is no more.
func (h *hints) forget(name SegmentName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.read, name)
}

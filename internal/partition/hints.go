package partition

import "sync"

// hint is the place at which an earlier read ended: a batch with the base offset offset begins at position, in bytes,
// in the file of segment.
type hint struct {
	segment          SegmentName
	offset, position int64
}

// hints remembers where earlier reads ended, so that a sequential reader finds its next batch without a search in the
// index. A hint may be wrong, so readAt checks the batch at the position. The zero value is ready for use. It is safe
// for concurrent use: mu guards all fields. ring has at most maxHints elements. When it is full, at is the index of the
// oldest.
type hints struct {
	mu   sync.Mutex
	ring []hint
	at   int
	read map[SegmentName]int64 // how many bytes of each segment were read sequentially
}

// maxHints is how many places of earlier reads are remembered for one log, and so how many sequential readers profit.
const maxHints = 32

// find returns the position of the batch that begins at offset in a segment. ok is false if no hint has it.
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

// keep adds a hint. If there are maxHints already, it replaces the oldest.
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

// isFirst records that bytes bytes of seg are about to be read sequentially, and reports whether they are, as far as is
// known, read for the first time. Batches that are read once are better read past the page cache, since filling the
// page cache costs more than the read. Batches that are read several times are better kept in the page cache.
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

// forget drops the count for a segment that was deleted or replaced.
func (h *hints) forget(name SegmentName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.read, name)
}

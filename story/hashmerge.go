package story

import (
	"encoding/binary"
	"slices"
)

// Runs that are long are merged a few pieces in each transaction (hashMerge), so that no transaction takes long. The run
// that results is not asked before it is complete; until then its number is among the stale ones of the bucket meta, and
// afterwards those of the runs that were merged to it are, until the pieces of these have been deleted, also a few at a
// time. A file that is opened again drops what is stale, and merges anew.
//
// Entries that lead to stories that were forgotten are left out. If nothing else causes them to be merged, all runs are when
// half of their entries may be such ones.

const (
	inlineRun    = 1 << 17 // entries up to which runs are merged in one transaction
	maxRun       = 1 << 21 // entries up to which runs are merged unless all are: a merge takes the room of what it merges once more
	mergePieces  = 64      // pieces that one transaction merges, or deletes, at most
	mergeFactor  = 24      // entries that are merged for each that is added, at least
	minCompacted = 1 << 16 // entries up to which what was forgotten is left in the runs
)

// hashMerge merges runs to one.
type hashMerge struct {
	from []*hashRun
	at   []hashCursor
	out  *hashRun
}

// hashCursor is a place in a run: the next entry of a piece.
type hashCursor struct {
	piece int
	entry int
}

// hashRuns are the runs of an Index, in the order in which they were begun, and what is under way with them.
type hashRuns struct {
	runs  []*hashRun
	merge *hashMerge // nil: none
	stale []staleRun // whose pieces are to be deleted
	// compacted is the number of entries after which the last compaction has ended, or at least minCompacted; see compact.
	compacted int
	forgotten bool // a story was forgotten since
}

// staleRun is a run with pieces that no lookup is to find.
type staleRun struct {
	num    uint32
	pieces int // that are left
}

// entries returns the number of entries of all runs.
func (h *hashRuns) entries() (n int) {
	for _, run := range h.runs {
		n += run.n
	}
	return n
}

// nextNum returns a number for a new run, above all that there are.
func (h *hashRuns) nextNum() uint32 {
	last := uint32(0)
	for _, run := range h.runs {
		last = max(last, run.num)
	}
	for _, s := range h.stale {
		last = max(last, s.num)
	}
	if h.merge != nil {
		last = max(last, h.merge.out.num)
	}
	return last + 1
}

// merging reports whether a run is being merged.
func (h *hashRuns) merging(run *hashRun) bool {
	return h.merge != nil && slices.Contains(h.merge.from, run)
}

// begin begins a merge if one is due and none is under way.
func (h *hashRuns) begin() {
	if h.merge != nil || len(h.runs) == 0 {
		return
	}
	keep := len(h.runs) - 1
	n := h.runs[keep].n
	if n >= inlineRun/runRatio {
		for keep > 0 && h.runs[keep-1].n < runRatio*n && h.runs[keep-1].n+n <= maxRun {
			keep--
			n += h.runs[keep].n
		}
	}
	if h.forgotten && h.entries() > 2*max(h.compacted, minCompacted) {
		keep = 0
	} else if keep == len(h.runs)-1 {
		return
	}
	from := slices.Clone(h.runs[keep:])
	h.merge = &hashMerge{from: from, at: make([]hashCursor, len(from)), out: &hashRun{num: h.nextNum()}}
	if keep == 0 {
		h.forgotten = false
	}
}

// staleRow returns the row of the key stale in the bucket meta: the numbers of the runs whose pieces are not to be found.
func (h *hashRuns) staleRow() (row []byte) {
	for _, s := range h.stale {
		row = binary.BigEndian.AppendUint32(row, s.num)
	}
	if h.merge != nil {
		row = binary.BigEndian.AppendUint32(row, h.merge.out.num)
	}
	return row
}

// work takes merges and deletions further, by as much as is due for so many entries that were added.
func (w *hashWriter) work(added int, gone func(where) bool) {
	h := w.set
	h.begin()
	pieces := min(1+added*mergeFactor/pieceEntries, mergePieces)
	if h.merge != nil {
		w.mergeMore(h.merge, pieces, gone)
	}
	for len(h.stale) > 0 && pieces > 0 && w.err == nil {
		s := &h.stale[0]
		for ; s.pieces > 0 && pieces > 0; pieces-- {
			s.pieces--
			w.fail(w.bucket.Delete(pieceKey(s.num, s.pieces)))
		}
		if s.pieces == 0 {
			h.stale = h.stale[1:]
		}
	}
}

// mergeMore writes up to so many pieces of a merge, and ends it if there are no more entries.
func (w *hashWriter) mergeMore(m *hashMerge, pieces int, gone func(where) bool) {
	heads := make([][]byte, len(m.from)) // what is left of the present piece of each run
	load := func(i int) {
		for len(heads[i]) == 0 && m.at[i].piece < len(m.from[i].firsts) {
			p, err := parsePiece(w.bucket.Get(pieceKey(m.from[i].num, m.at[i].piece)))
			w.fail(err)
			if heads[i] = p.entries[min(m.at[i].entry*hashEntryLen, len(p.entries)):]; len(heads[i]) == 0 {
				m.at[i] = hashCursor{m.at[i].piece + 1, 0}
			}
		}
	}
	for i := range m.from {
		load(i)
	}
	for ; pieces > 0 && w.err == nil; pieces-- {
		rows := make([]byte, 0, pieceEntries*hashEntryLen)
		for len(rows) < cap(rows) && w.err == nil {
			least := -1
			var e hashEntry
			for i, head := range heads {
				if len(head) > 0 {
					if x := parseHashEntry(head); least < 0 || x.hash < e.hash || x.hash == e.hash && x.where < e.where {
						least, e = i, x
					}
				}
			}
			if least < 0 {
				break
			}
			if !gone(e.where) {
				rows = append(rows, heads[least][:hashEntryLen]...)
			}
			heads[least] = heads[least][hashEntryLen:]
			m.at[least].entry++
			load(least)
		}
		if len(rows) > 0 {
			w.putPiece(m.out, rows)
			m.out.n += len(rows) / hashEntryLen
		}
		if len(rows) < cap(rows) {
			w.endMerge(m)
			return
		}
	}
}

// endMerge puts the run that a merge has made in the place of those that it was made of.
func (w *hashWriter) endMerge(m *hashMerge) {
	h := w.set
	at := slices.Index(h.runs, m.from[0])
	runs := slices.Clone(h.runs[:at]) // queries may have the slice
	if m.out.n > 0 {
		runs = append(runs, m.out)
	}
	h.runs = append(runs, h.runs[at+len(m.from):]...)
	for _, run := range m.from {
		h.stale = append(h.stale, staleRun{run.num, len(run.firsts)})
	}
	if at == 0 {
		h.compacted = m.out.n
	}
	h.merge = nil
}

// putPiece writes the next piece of a run.
func (w *hashWriter) putPiece(run *hashRun, entries []byte) {
	row := appendFilter(make([]byte, 0, 2+len(entries)+max(filterLine, len(entries)/hashEntryLen)), entries)
	w.fail(w.bucket.Put(pieceKey(run.num, len(run.firsts)), append(row, entries...)))
	run.firsts = append(run.firsts, binary.BigEndian.Uint64(entries))
}

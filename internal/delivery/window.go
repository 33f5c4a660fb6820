package delivery

import "hash/maphash"

// MaxWindow is the most that a Window may remember.
const MaxWindow = 1<<31 - 1

// Window remembers the last ids of a partition, to tell copies. It keeps a 128-bit hash of each id: about 24 bytes, and
// a copy seen where there is none in one of 2^100 events. It grows as it fills. It is not safe for concurrent use.
//
// The ids stand in a ring in the order in which they came; table is an open-addressed index into the ring, of a power of
// two at least twice as long, with linear probing and deletion by shifting back (no tombstones).
type Window struct {
	size int // how many ids to remember
	ring []idHash
	head int // where the oldest stands once the ring is full
	// table has slot+1 of the ring, 0 where empty.
	table []uint32
}

type idHash struct{ a, b uint64 }

var windowSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// NewWindow remembers the last size ids; 0 remembers nothing.
func NewWindow(size int) *Window { return &Window{size: size} }

// Seen takes in an id and tells whether it is a copy of one that is remembered. A copy renews nothing.
func (w *Window) Seen(id string) bool {
	if w.size == 0 {
		return false
	}
	h := idHash{maphash.String(windowSeeds[0], id), maphash.String(windowSeeds[1], id)}
	if w.find(h) {
		return true
	}
	if len(w.ring) < w.size {
		w.ring = append(w.ring, h)
		if 2*len(w.ring) > len(w.table) {
			w.grow()
		} else {
			w.insert(uint32(len(w.ring)))
		}
		return false
	}
	w.remove(w.head)
	w.ring[w.head] = h
	w.insert(uint32(w.head + 1))
	w.head = (w.head + 1) % w.size
	return false
}

func (w *Window) find(h idHash) bool {
	if len(w.table) == 0 {
		return false
	}
	mask := uint64(len(w.table) - 1)
	for i := h.a & mask; w.table[i] != 0; i = (i + 1) & mask {
		if w.ring[w.table[i]-1] == h {
			return true
		}
	}
	return false
}

func (w *Window) insert(entry uint32) {
	mask := uint64(len(w.table) - 1)
	i := w.ring[entry-1].a & mask
	for w.table[i] != 0 {
		i = (i + 1) & mask
	}
	w.table[i] = entry
}

// remove takes the id at a slot of the ring out of the table, and moves back what had been pushed past it.
func (w *Window) remove(slot int) {
	mask := uint64(len(w.table) - 1)
	i := w.ring[slot].a & mask
	for w.table[i] != uint32(slot+1) {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; w.table[j] != 0; j = (j + 1) & mask {
		home := w.ring[w.table[j]-1].a & mask
		// The entry at j may move to i if its home does not lie cyclically in (i, j].
		if (j-home)&mask >= (j-i)&mask {
			w.table[i] = w.table[j]
			i = j
		}
	}
	w.table[i] = 0
}

func (w *Window) grow() {
	w.table = make([]uint32, max(16, 2*len(w.table)))
	for i := range w.ring {
		w.insert(uint32(i + 1))
	}
}

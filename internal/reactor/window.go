package reactor

import (
	"encoding/binary"

	"tidings.dev/internal/cloudevent"
)

// MaxWindow is the largest number of identities that a window may remember.
const MaxWindow = 1<<31 - 1

// window remembers the identities of the newest events of a partition, by which copies are recognised, and the offset
// of the first record of each. An identity takes about 40 bytes. The window grows as it fills. It is not safe for
// concurrent use.
//
// Invariants: ring has the last len(ring) <= size identities that were no copies. table is a hash table that has an entry
// for each slot of ring exactly once; its length is a power of two, at least twice len(ring). Collisions are probed
// linearly, and deletion shifts entries back, so there are no tombstones.
type window struct {
	size  int // number of identities to remember
	ring  []rememberedEvent
	head  int // the slot of the oldest identity, once len(ring) == size
	table []windowEntry
}

// windowEntry is an entry of a window's table. It has a part of the identity, so that ring, which is not in the processor's
// caches, is looked at only where an identity is probably found.
type windowEntry struct {
	hash uint32 // see home
	slot uint32 // slot of ring plus 1; 0 in an empty entry
}

// rememberedEvent is the identity of an event and the offset of its first record.
type rememberedEvent struct {
	cloudevent.Identity
	offset int64
}

// newWindow returns a window for the last size identities, 0 <= size <= MaxWindow. With 0 it remembers nothing.
func newWindow(size int) *window { return &window{size: size} }

// seen reports whether an identity is remembered, and returns the offset that it is remembered with. If it is not,
// seen remembers it with offset, which is that of its record. Seeing an identity again does not make it newer.
func (w *window) seen(id cloudevent.Identity, offset int64) (original int64, ok bool) {
	if w.size == 0 {
		return 0, false
	}
	if original, ok := w.find(id); ok {
		return original, true
	}
	if len(w.ring) < w.size {
		w.ring = append(w.ring, rememberedEvent{id, offset})
		if 2*len(w.ring) > len(w.table) {
			w.grow()
		} else {
			w.insert(uint32(len(w.ring)))
		}
		return 0, false
	}
	w.remove(w.head)
	w.ring[w.head] = rememberedEvent{id, offset}
	w.insert(uint32(w.head + 1))
	w.head = (w.head + 1) % w.size
	return 0, false
}

// find returns the offset with which an identity is remembered. ok is false if it is not.
func (w *window) find(id cloudevent.Identity) (offset int64, ok bool) {
	if len(w.table) == 0 {
		return 0, false
	}
	mask, hash := uint32(len(w.table)-1), home(id)
	for i := hash & mask; w.table[i].slot != 0; i = (i + 1) & mask {
		if w.table[i].hash != hash {
			continue
		}
		if have := &w.ring[w.table[i].slot-1]; have.Identity == id {
			return have.offset, true
		}
	}
	return 0, false
}

// home returns the index in the table at which the search for an identity begins, before masking. An identity is a
// hash already.
func home(id cloudevent.Identity) uint32 { return binary.LittleEndian.Uint32(id[:4]) }

// insert adds an entry for slot-1 of ring to the table. The table must have an empty entry.
func (w *window) insert(slot uint32) { w.place(windowEntry{home(w.ring[slot-1].Identity), slot}) }

// place puts an entry into the first empty one from its home on.
func (w *window) place(e windowEntry) {
	mask := uint32(len(w.table) - 1)
	i := e.hash & mask
	for w.table[i].slot != 0 {
		i = (i + 1) & mask
	}
	w.table[i] = e
}

// remove removes the entry of a slot of ring from the table, and shifts back the entries that its presence had pushed
// on.
func (w *window) remove(slot int) {
	mask := uint32(len(w.table) - 1)
	i := home(w.ring[slot].Identity) & mask
	for w.table[i].slot != uint32(slot+1) {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; w.table[j].slot != 0; j = (j + 1) & mask {
		at := w.table[j].hash & mask
		// The entry at j may move to i if its home does not lie cyclically in (i, j].
		if (j-at)&mask >= (j-i)&mask {
			w.table[i] = w.table[j]
			i = j
		}
	}
	w.table[i] = windowEntry{}
}

// grow doubles the table.
func (w *window) grow() {
	w.table = make([]windowEntry, max(16, 2*len(w.table)))
	for i := range w.ring {
		w.insert(uint32(i + 1))
	}
}

package reactor

// laneTable finds lanes by their keys. It is a hash table with linear probing; deletion shifts lanes back, so there are no
// tombstones. Most lanes are there for a moment, and a map would hash their keys several times for that.
//
// Invariants: slots has each lane once; its length is 0 or a power of two, at least twice len. A lane lies in the first free slot from
// its hash on, as of when it was added, or was shifted back from there.
type laneTable[K comparable, T any] struct {
	hash  func(K) uint64
	slots []*lane[K, T]
	len   int
}

// minLaneSlots is the smallest length of the slots of a laneTable that is not empty.
const minLaneSlots = 16

// find returns the lane of a key, whose hash is given, or nil.
func (t *laneTable[K, T]) find(key K, hash uint64) *lane[K, T] {
	if t.len == 0 {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != nil; i = (i + 1) & mask {
		if ln := t.slots[i]; ln.hash == hash && ln.key == key {
			return ln
		}
	}
	return nil
}

// add adds a lane whose key no other lane of the table has.
func (t *laneTable[K, T]) add(ln *lane[K, T]) {
	t.len++
	if 2*t.len > len(t.slots) {
		had := t.slots
		t.slots = make([]*lane[K, T], max(minLaneSlots, 2*len(had)))
		for _, other := range had {
			if other != nil {
				t.place(other)
			}
		}
	}
	t.place(ln)
}

// place puts a lane into the first free slot from its hash on.
func (t *laneTable[K, T]) place(ln *lane[K, T]) {
	mask := uint64(len(t.slots) - 1)
	i := ln.hash & mask
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = ln
}

// remove removes a lane, which must be in the table.
func (t *laneTable[K, T]) remove(ln *lane[K, T]) {
	t.len--
	mask := uint64(len(t.slots) - 1)
	i := ln.hash & mask
	for t.slots[i] != ln {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.slots[j] != nil; j = (j + 1) & mask {
		// The lane at j may move to i if its home does not lie cyclically in (i, j].
		if home := t.slots[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = nil
}

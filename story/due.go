package story

import (
	"bytes"
	"slices"
)

// The bucket due has the stories that the judge has to look at, as bits: nearly every story is due for a while, and most
// transactions have neighbours become due.
//
//	│ story / dueStories, 8 │   →   bits, 128 bytes: the lowest bit of the first byte is the first story. No row is 0 throughout
const dueStories = 1024

// dueWriter writes the bucket due. Stories must be set in ascending order.
type dueWriter struct {
	tx    *writeTx
	block uint64
	bits  []byte // nil before the first
}

// set makes a story due, or not.
func (w *dueWriter) set(n storyNum, due bool) {
	if block := uint64(n) / dueStories; w.bits == nil || block != w.block {
		w.flush()
		w.block, w.bits = block, make([]byte, dueStories/8)
		copy(w.bits, w.tx.due.Get(u64Key(block)))
	}
	at, bit := n%dueStories/8, byte(1)<<(n%8)
	w.bits[at] &^= bit
	if due {
		w.bits[at] |= bit
	}
}

// flush writes what was set.
func (w *dueWriter) flush() {
	switch {
	case w.bits == nil || w.tx.err != nil:
	case slices.Max(w.bits) == 0:
		w.tx.fail(w.tx.due.Delete(u64Key(w.block)))
	default:
		w.tx.put(w.tx.due, u64Key(w.block), w.bits)
	}
	w.bits = nil
}

// loadDue adds the stories in a row of the bucket due to a set.
func loadDue(pending map[storyNum]struct{}, block uint64, bits []byte) error {
	if len(bits) != dueStories/8 || len(bytes.Trim(bits, "\x00")) == 0 {
		return errRow
	}
	for i, b := range bits {
		for bit := range 8 {
			if b&(1<<bit) != 0 {
				pending[storyNum(block*dueStories+uint64(i*8+bit))] = struct{}{}
			}
		}
	}
	return nil
}

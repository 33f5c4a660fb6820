package txn

import (
	"errors"
	"testing"
)

// TestIDsAcrossCrashes checks that an id comes only from a durable block and never twice, even after crashes (trap 7).
func TestIDsAcrossCrashes(t *testing.T) {
	given := make(map[int64]bool)
	next := func(a *IDs) {
		id, ok := a.Next()
		if !ok {
			t.Fatal("no id though a block was granted")
		}
		if given[id] {
			t.Fatalf("id %d is given out twice", id)
		}
		given[id] = true
	}
	var a IDs
	if _, ok := a.Next(); ok {
		t.Fatal("an id before any block is durable")
	}
	first := a.Reserve()
	if _, ok := a.Next(); ok {
		t.Fatal("an id from a block that is not durable")
	}
	a.Grant(first)
	for range BlockSize {
		next(&a)
	}
	if _, ok := a.Next(); ok {
		t.Fatal("an id past the block")
	}
	// Case: two blocks at once, given in the order in which they became durable.
	second, third := a.Reserve(), a.Reserve()
	a.Grant(second)
	next(&a)
	a.Grant(third)
	for range BlockSize {
		next(&a)
	}
	// Case: a crash; the journal has the three blocks. What is left of the third is lost.
	var b IDs
	for _, block := range []Block{first, second, third} {
		replayed, err := DecodeBlock(block.Encode())
		if err != nil || replayed != block {
			t.Fatalf("%+v: %+v, %v", block, replayed, err)
		}
		b.Replay(replayed)
	}
	b.Grant(b.Reserve())
	next(&b)
	// Case: a checkpoint, with a block reserved and not yet durable.
	pending := b.Reserve()
	var c IDs
	if err := c.Load(b.Snapshot()); err != nil {
		t.Fatal(err)
	}
	c.Replay(pending)
	c.Grant(c.Reserve())
	next(&c)
}

func TestCorruptBlocks(t *testing.T) {
	for _, p := range [][]byte{nil, {1}, Block{1}.Encode()[:8], append(Block{1}.Encode(), 0), {2, 0, 0, 0, 0, 0, 0, 0, 1}, {1, 0xff, 0, 0, 0, 0, 0, 0, 1}} {
		if _, err := DecodeBlock(p); !errors.Is(err, ErrCorruptRecord) {
			t.Fatalf("%x: %v", p, err)
		}
		if err := new(IDs).Load(p); !errors.Is(err, ErrCorruptRecord) {
			t.Fatalf("%x: %v", p, err)
		}
	}
}

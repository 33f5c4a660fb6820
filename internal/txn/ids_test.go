package txn

import (
	"errors"
	"testing"
	"time"
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
	first := a.Reserve(time.Time{})
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
	second, third := a.Reserve(time.Time{}), a.Reserve(time.Time{})
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
	b.Grant(b.Reserve(time.Time{}))
	next(&b)
	// Case: a checkpoint, with a block reserved and not yet durable.
	pending := b.Reserve(time.Time{})
	var c IDs
	if err := c.Load(b.Snapshot()); err != nil {
		t.Fatal(err)
	}
	c.Replay(pending)
	c.Grant(c.Reserve(time.Time{}))
	next(&c)
}

// TestIDsOfCopies checks that IDs that go on from copies of one state give different ids, that the clock takes no id back, and that a clock
// that has gone wrong leaves as many ids again.
func TestIDsOfCopies(t *testing.T) {
	now := time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
	const day = 86400e6
	for _, c := range []struct {
		reserved int64
		now      time.Time
		want     int64
	}{{0, now, day}, {day, now, day}, {day + 7000, now, day + 7000}, {5000, time.Time{}, 5000}, {0, now.AddDate(5000, 0, 0), 1 << 52}, {1<<52 + 1000, now.AddDate(5000, 0, 0), 1<<52 + 1000}} {
		a := IDs{reserved: c.reserved}
		if got := a.Reserve(c.now).First; got != c.want {
			t.Errorf("%d are reserved at %v: the block begins at %d, want %d", c.reserved, c.now, got, c.want)
		}
	}
	var one, two IDs
	if a, b := one.Reserve(now), two.Reserve(now.Add(time.Millisecond)); a.End() > b.First {
		t.Errorf("the same ids within a millisecond: %v, %v", a, b)
	}
	if a, b := one.Reserve(now), one.Reserve(now); b.First != a.End() {
		t.Errorf("%v, %v", a, b)
	}
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

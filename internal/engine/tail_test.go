package engine

import (
	"strings"
	"testing"
)

// A pass writes what makes a large write, and of partitions with little only what the budget asks for, most of it first.
func TestPassLeavesLittleForLater(t *testing.T) {
	const budget = 8 << 20
	e := openMem(t, func(c *Config) { c.TailBytes = budget })
	topic := makeTopic(t, e, "orders", 80)
	fill := func(partition int32, bytes int) int64 {
		t.Helper()
		a := appendNow(e, Partition{topic.ID, partition}, newBatch(-1, -1, strings.Repeat("a", bytes)))
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		return e.parts[Partition{topic.ID, partition}].log.Unwritten()
	}
	pass := func() {
		t.Helper()
		if err := e.tail.pass(e); err != nil {
			t.Fatal(err)
		}
	}
	unwritten := func(partition int32) int64 { return e.parts[Partition{topic.ID, partition}].log.Unwritten() }

	fill(0, worthWriting)
	little := fill(1, 1000)
	pass()
	if got := unwritten(0); got != 0 {
		t.Errorf("%d bytes were left of what makes a large write", got)
	}
	if got := unwritten(1); got != little {
		t.Errorf("%d bytes are left in memory only, want %d", got, little)
	}

	sum := little
	for i := range int32(60) {
		bytes := 150<<10 + int(i)<<10
		fill(10+i, bytes)
		sum += int64(bytes)
	}
	if sum < budget {
		t.Fatalf("%d bytes are too little to ask for a pass", sum)
	}
	pass()
	_, left := waitingParts(e.allParts())
	if left > budget || left < budget-worthWriting {
		t.Errorf("%d bytes are left in memory only, want little less than %d", left, budget)
	}
	if unwritten(69) != 0 || unwritten(10) == 0 || unwritten(1) == 0 {
		t.Errorf("left: %d of the largest, %d of the smallest large one, %d of the smallest; the largest go first", unwritten(69), unwritten(10), unwritten(1))
	}
}

package txn

import (
	"testing"
	"time"
)

// Case: batches that were recorded and then refused are forgotten: sent again they follow the last that stayed, and are
// no duplicates. A producer with nothing left is a new one.
func TestForget(t *testing.T) {
	var p Producers
	now := time.Unix(1, 0)
	for i := range int32(4) {
		p.Record(Batch{ProducerID: 7, BaseSequence: i, Count: 1}, int64(i), -1, now)
	}
	p.Record(Batch{ProducerID: 8, BaseSequence: 5, Count: 2}, 4, -1, now)
	p.Forget(2)
	for _, c := range []struct {
		pid       int64
		seq       int32
		duplicate bool
		ok        bool
	}{{7, 1, true, true}, {7, 2, false, true}, {7, 3, false, false}, {8, 5, false, true}} {
		v, err := p.Check(Batch{ProducerID: c.pid, BaseSequence: c.seq, Count: 1})
		if (err == nil) != c.ok || v.Duplicate != c.duplicate {
			t.Errorf("producer %d sequence %d: %+v, %v", c.pid, c.seq, v, err)
		}
	}
	if p.Forget(0); p.Len() != 0 {
		t.Errorf("%d producers are left", p.Len())
	}
}

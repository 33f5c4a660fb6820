package txn

import (
	"testing"
	"time"
)

// TestForget checks that Rollback forgets batches that were recorded and then failed: they are no duplicates when they
// are sent again, and follow the last batch that stayed. A producer without any other batch is treated as a new one.
func TestForget(t *testing.T) {
	var p Producers
	now := time.Unix(1, 0)
	for i := range int32(4) {
		p.Record(Batch{ProducerID: 7, BaseSequence: i, Count: 1}, int64(i), -1, now)
	}
	p.Record(Batch{ProducerID: 8, BaseSequence: 5, Count: 2}, 4, -1, now)
	p.Rollback(2)
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
	if p.Rollback(0); p.Len() != 0 {
		t.Errorf("%d producers are left", p.Len())
	}
}

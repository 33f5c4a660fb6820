package story

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// TestTheLeaderEpochOfMarksIsFound compares what is found in encoded marks without decoding them with what they say.
func TestTheLeaderEpochOfMarksIsFound(t *testing.T) {
	for _, epoch := range []int32{0, 7, 1<<31 - 1} {
		m := &obligation.Marks{Reaction: "payment.v2", Topic: "shop.orders", Partition: 12, Leader: &epoch, Position: 1}
		r := &kgo.Record{Key: []byte(m.Key()), Value: obligation.Encode(m)}
		if named, ok := leaderOfMarks(r); !ok || named != (leaderEpoch{"shop.orders", 12, epoch}) {
			t.Errorf("%+v, %v", named, ok)
		}
	}
	m := &obligation.Marks{Reaction: "payment", Topic: "orders", Position: 1}
	for name, r := range map[string]*kgo.Record{
		"marks without an epoch": {Key: []byte(m.Key()), Value: obligation.Encode(m)},
		"no marks":               {Key: []byte("a/b/0"), Value: []byte(`{"leader_epoch":x}`)},
		"no key":                 {Value: []byte(`{"leader_epoch":1}`)},
		"nothing":                {},
	} {
		if named, ok := leaderOfMarks(r); ok {
			t.Errorf("%s: %+v", name, named)
		}
	}
}

package obligation_test

import (
	"reflect"
	"testing"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// TestMarksBelowAnEnd cuts marks at each offset. What they say about lower offsets must stay, and nothing else.
func TestMarksBelowAnEnd(t *testing.T) {
	leader := int32(3)
	whole := &obligation.Marks{
		Reaction: "payment", Topic: "orders", Partition: 1, Epoch: 2, Leader: &leader, Position: 9,
		Done:      []offsets.Range{{Lo: 2, Hi: 5}, {Lo: 6, Hi: 9}},
		Unhandled: []offsets.Range{{Lo: 6, Hi: 8}},
		Emitted:   []offsets.Range{{Lo: 3, Hi: 7}},
		Skipped:   []obligation.Skipped{{Offset: 2}, {Offset: 8}},
		Retried:   []obligation.Retried{{Offset: 4}, {Offset: 7}},
		Copies:    []obligation.Copy{{Offset: 5, Of: 2}, {Offset: 9, Of: 8}},
		Times:     []obligation.Timing{{Offset: 3}, {Offset: 8}},
	}
	cut := whole.Below(7)
	want := &obligation.Marks{
		Reaction: "payment", Topic: "orders", Partition: 1, Epoch: 2, Leader: &leader, Position: 7,
		Done:      []offsets.Range{{Lo: 2, Hi: 5}, {Lo: 6, Hi: 7}},
		Unhandled: []offsets.Range{{Lo: 6, Hi: 7}},
		Emitted:   []offsets.Range{{Lo: 3, Hi: 7}},
		Skipped:   []obligation.Skipped{{Offset: 2}},
		Retried:   []obligation.Retried{{Offset: 4}},
		Copies:    []obligation.Copy{{Offset: 5, Of: 2}},
		Times:     []obligation.Timing{{Offset: 3}},
	}
	want.Duplicates = cut.Duplicates // empty or nil
	if !reflect.DeepEqual(cut, want) || len(cut.Duplicates) > 0 {
		t.Errorf("%+v", cut)
	}
	if all := whole.Below(10); all != whole {
		t.Errorf("a copy of what is whole: %+v", all)
	}
	if none := whole.Below(0); len(none.Done)+len(none.Copies)+len(none.Times) > 0 || none.Emitted == nil || none.Position != 0 {
		t.Errorf("%+v", none)
	}
	for _, part := range whole.Split(600) {
		if part.Leader == nil || *part.Leader != 3 {
			t.Errorf("a part without the leader epoch: %+v", part)
		}
	}
}

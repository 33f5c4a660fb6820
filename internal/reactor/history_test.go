package reactor

import (
	"slices"
	"testing"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// TestMarksOfAnEarlierEpochCountForNothing adds marks that an instance has written after a seek that it did not know of: it
// was halted meanwhile. They count for nothing, whether the record of the seek is added or only its epoch is known.
func TestMarksOfAnEarlierEpochCountForNothing(t *testing.T) {
	late := &obligation.Marks{Epoch: 1, Done: []offsets.Range{{Lo: 3, Hi: 5}}}
	next := &obligation.Marks{Epoch: 2, Done: []offsets.Range{{Lo: 7, Hi: 8}}}
	known, read := newHistory(2), newHistory(0)
	read.add(&obligation.Seek{Epoch: 1, From: 9, To: 9})
	read.add(&obligation.Seek{Epoch: 2, From: 9, To: 2})
	for name, h := range map[string]*history{"its epoch is committed": known, "it is read": read} {
		h.add(late)
		h.add(next)
		if got := h.Done.Ranges(); !slices.Equal(got, next.Done) {
			t.Errorf("%s: %v is done, want %v", name, got, next.Done)
		}
	}
}

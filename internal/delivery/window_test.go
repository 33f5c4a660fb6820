package delivery

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// The window against a list of the last ids.
func TestWindowRemembersExactlyTheLastIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 40).Draw(t, "size")
		w := NewWindow(size)
		var last []string
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 1, 400).Draw(t, "ids") {
			id := strconv.Itoa(n)
			want := slices.Contains(last, id)
			if got := w.Seen(id); got != want {
				t.Fatalf("Seen(%s) = %v, want %v; the last %d are %v", id, got, want, size, last)
			}
			if !want && size > 0 {
				if last = append(last, id); len(last) > size {
					last = last[1:]
				}
			}
		}
	})
}

func TestWindowStaysSmall(t *testing.T) {
	w := NewWindow(1 << 14)
	for i := range 200_000 {
		if w.Seen(fmt.Sprint("event-", i)) {
			t.Fatalf("event %d is taken for a copy", i)
		}
	}
	if len(w.ring) != 1<<14 || len(w.table) != 1<<15 {
		t.Errorf("ring of %d, table of %d", len(w.ring), len(w.table))
	}
}

func BenchmarkWindow(b *testing.B) {
	w := NewWindow(1 << 14)
	ids := make([]string, 1<<16)
	for i := range ids {
		ids[i] = DeriveID(strconv.Itoa(i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Seen(ids[i&(len(ids)-1)])
	}
}

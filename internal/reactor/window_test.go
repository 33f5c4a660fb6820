package reactor

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/cloudevent"
)

// identity returns the identity of an event with this id.
func identity(id string) cloudevent.Identity { return (&cloudevent.Event{ID: id}).Identity() }

// TestWindowRemembersExactlyTheLastIdentities compares a window with a list of the last ids.
func TestWindowRemembersExactlyTheLastIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 40).Draw(t, "size")
		w := newWindow(size)
		var last []string
		first := make(map[string]int64)
		for offset, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 1, 400).Draw(t, "ids") {
			id := strconv.Itoa(n)
			want := slices.Contains(last, id)
			original, got := w.seen(identity(id), int64(offset))
			if got != want || got && original != first[id] {
				t.Fatalf("seen(%s) = %d, %v, want %d, %v; the last %d are %v", id, original, got, first[id], want, size, last)
			}
			if !want && size > 0 {
				first[id] = int64(offset)
				if last = append(last, id); len(last) > size {
					last = last[1:]
				}
			}
		}
	})
}

func TestWindowStaysSmall(t *testing.T) {
	w := newWindow(1 << 14)
	for i := range 200_000 {
		if _, copied := w.seen(identity(fmt.Sprint("event-", i)), int64(i)); copied {
			t.Fatalf("event %d is taken for a copy", i)
		}
	}
	if len(w.ring) != 1<<14 || len(w.table) != 1<<15 {
		t.Errorf("ring of %d, table of %d", len(w.ring), len(w.table))
	}
}

func BenchmarkWindow(b *testing.B) {
	w := newWindow(1 << 14)
	ids := make([]cloudevent.Identity, 1<<16)
	for i := range ids {
		ids[i] = identity(strconv.Itoa(i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.seen(ids[i&(len(ids)-1)], int64(i))
	}
}

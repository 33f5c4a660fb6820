package reactor

import (
	"testing"

	"pgregory.net/rapid"
)

// laneItem is the item with this number, from 0, of a lane.
type laneItem struct{ lane, number int }

// TestLanesKeepOrderAndLoseNothing checks lanes under random operations: the items of one lane are given out in order
// and one at a time, a lane that waits gives out nothing, and at the end every item was given out and no lane is left.
func TestLanesKeepOrderAndLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLanes[int, laneItem](func(key int) uint64 { return uint64(13 + key%2) })
		added := map[int]int{}        // number of items added, by lane
		expect := map[int][]int{}     // numbers of the items that are still to be done, by lane, in order
		running := map[int]laneItem{} // by lane: the item that was given out
		waiting := map[int]bool{}
		check := func(key int, it laneItem) {
			if _, twice := running[key]; twice || waiting[key] {
				t.Fatalf("lane %d gives out %v while its head is not back", key, it)
			}
			if it.lane != key || len(expect[key]) == 0 || expect[key][0] != it.number {
				t.Fatalf("lane %d gives out %v, want %v", key, it, expect[key])
			}
			running[key] = it
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := rapid.IntRange(0, 4).Draw(t, "lane")
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				l.add(key, laneItem{key, added[key]})
				expect[key] = append(expect[key], added[key])
				added[key]++
			case 2:
				if it, ok := l.next(); ok {
					check(it.lane, it)
				}
			case 3:
				if _, ok := running[key]; ok {
					l.done(key)
					delete(running, key)
					expect[key] = expect[key][1:]
				}
			case 4:
				if _, ok := running[key]; ok {
					l.wait(key)
					delete(running, key)
					waiting[key] = true
				}
			case 5:
				l.resume(key)
				delete(waiting, key)
			case 6:
				odd := rapid.IntRange(0, 1).Draw(t, "odd")
				l.drop(func(it laneItem) bool { return it.number%2 == odd })
				for key, numbers := range expect {
					var kept []int
					for i, n := range numbers {
						_, out := running[key]
						if n%2 != odd || i == 0 && out {
							kept = append(kept, n)
						} else if i == 0 {
							delete(waiting, key)
						}
					}
					expect[key] = kept
				}
			}
			queued := 0
			for _, numbers := range expect {
				queued += len(numbers)
			}
			if l.queued != queued {
				t.Fatalf("%d queued, want %d", l.queued, queued)
			}
		}
		for key := range running {
			l.done(key)
			expect[key] = expect[key][1:]
		}
		clear(running)
		for key := range waiting {
			l.resume(key)
		}
		clear(waiting)
		for {
			it, ok := l.next()
			if !ok {
				break
			}
			check(it.lane, it)
			l.done(it.lane)
			delete(running, it.lane)
			expect[it.lane] = expect[it.lane][1:]
		}
		if l.queued != 0 || l.table.len != 0 || len(l.runnable)-l.first != 0 {
			t.Fatalf("left over: %d items, %d lanes, %d runnable; expected %v", l.queued, l.table.len, len(l.runnable)-l.first, expect)
		}
	})
}

package delivery

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

type laneItem struct{ lane, number int }

// Lanes under everything that can happen to them: items of one lane are given out in order and one at a time, a lane
// that waits gives out nothing, and at the end nothing was lost and nothing is left over.
func TestLanesKeepOrderAndLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLanes[int, laneItem]()
		added := map[int]int{}        // how many items each lane got
		expect := map[int][]int{}     // what each lane still has, in order
		running := map[int]laneItem{} // given out
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
				l.Add(key, laneItem{key, added[key]})
				expect[key] = append(expect[key], added[key])
				added[key]++
			case 2:
				if key, it, ok := l.Next(); ok {
					check(key, it)
				}
			case 3:
				if _, ok := running[key]; ok {
					l.Done(key)
					delete(running, key)
					expect[key] = expect[key][1:]
				}
			case 4:
				if _, ok := running[key]; ok {
					l.Wait(key)
					delete(running, key)
					waiting[key] = true
				}
			case 5:
				l.Resume(key)
				delete(waiting, key)
			case 6:
				odd := rapid.IntRange(0, 1).Draw(t, "odd")
				l.Drop(func(it laneItem) bool { return it.number%2 == odd })
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
			if l.Queued() != queued {
				t.Fatalf("%d queued, want %d", l.Queued(), queued)
			}
		}
		for key := range running {
			l.Done(key)
			expect[key] = expect[key][1:]
		}
		clear(running)
		for key := range waiting {
			l.Resume(key)
		}
		clear(waiting)
		for {
			key, it, ok := l.Next()
			if !ok {
				break
			}
			check(key, it)
			l.Done(key)
			delete(running, key)
			expect[key] = expect[key][1:]
		}
		if l.Queued() != 0 || len(l.lanes) != 0 || l.Runnable() != 0 {
			t.Fatalf("left over: %d items, %d lanes, %d runnable; expected %v", l.Queued(), len(l.lanes), l.Runnable(), expect)
		}
	})
}

func TestBackoffDoublesWithinItsBounds(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for failed, nominal := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 4: 800, 5: 1000, 6: 1000, 1 << 30: 1000} {
		nominal *= time.Millisecond
		for range 50 {
			if d := b.Delay(failed); d < nominal*4/5 || d > nominal*6/5 {
				t.Fatalf("after %d failures: %v, want %v ± 20 %%", failed, d, nominal)
			}
		}
	}
}

func TestDerivedIDsFollowFromTheirPartsAndNothingElse(t *testing.T) {
	if a, b := DeriveID("event", "1", "payment"), DeriveID("event", "1", "payment"); a != b || len(a) != 32 {
		t.Errorf("%s, %s", a, b)
	}
	seen := map[string]bool{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}} {
		seen[DeriveID(parts...)] = true
	}
	if len(seen) != 6 {
		t.Errorf("parts that are split differently share an id: %v", seen)
	}
	// Case: ids are kept in logs for ever, so the function may never change.
	if got := DeriveID("event", "1", "payment", "t", "s", "0"); got != "3074e265135c567683e842c29890a020" {
		t.Errorf("%s: the function has changed, and copies of events in existing logs are not told any more", got)
	}
}

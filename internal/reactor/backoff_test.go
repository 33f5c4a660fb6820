package reactor

import (
	"testing"
	"time"
)

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

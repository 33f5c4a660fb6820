package delivery

import (
	"math/rand/v2"
	"time"
)

// Backoff doubles the wait from Min to Max.
type Backoff struct{ Min, Max time.Duration }

// jitter is how far a delay strays from its nominal value, either way, so that subjects which failed together do not
// come back together.
const jitter = 0.2

// Delay is the wait after the given number of failed attempts (1 or more).
func (b Backoff) Delay(failed int) time.Duration {
	d := b.Min
	for i := 1; i < failed && d < b.Max; i++ {
		d *= 2
	}
	d = min(d, b.Max)
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

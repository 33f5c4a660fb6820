package reactor

import (
	"math/rand/v2"
	"time"
)

// Backoff is a retry policy: the wait before the second attempt is about Min, and doubles with each further attempt,
// up to Max. It must hold that 0 < Min <= Max.
type Backoff struct{ Min, Max time.Duration }

// jitter is the largest relative deviation of a delay from its nominal value, up or down. It keeps subjects that
// failed together from being tried again together.
const jitter = 0.2

// Delay returns how long to wait before the next attempt, after failed attempts have failed; failed is at least 1.
func (b Backoff) Delay(failed int) time.Duration {
	d := b.Min
	for i := 1; i < failed && d < b.Max; i++ {
		d *= 2
	}
	d = min(d, b.Max)
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

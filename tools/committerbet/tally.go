//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts the notes of instances, and what the referee did to them. mu protects the other fields.
type tally struct {
	mu    sync.Mutex
	count map[note]int // number of notes, by What and Why
	sum   map[note]int // sum of N, by What and Why
	took  map[string][]time.Duration
}

func newTally() *tally {
	return &tally{count: make(map[note]int), sum: make(map[note]int), took: make(map[string][]time.Duration)}
}

func (t *tally) add(n note) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := note{What: n.What, Why: n.Why}
	t.count[key]++
	t.sum[key] += n.N
	if n.Took > 0 {
		t.took[n.What] = append(t.took[n.What], n.Took)
	}
}

// of returns the number of notes with the given What.
func (t *tally) of(what string) (count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.count {
		if key.What == what {
			count += n
		}
	}
	return count
}

// String returns one line per What and Why, and the quantiles of durations.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for key, n := range t.count {
		lines = append(lines, fmt.Sprintf("    %-12s %6d  of %6d  %s", key.What, n, t.sum[key], key.Why))
	}
	slices.Sort(lines)
	for _, what := range []string{noteCommitted, noteResumed, noteRevoked, noteTakeover, noteSlow} {
		if took := t.took[what]; len(took) > 0 {
			lines = append(lines, fmt.Sprintf("    %s took %s", what, quantilesOf(took)))
		}
	}
	return strings.Join(lines, "\n")
}

// quantiles are the median, the 99th percentile and the maximum of durations.
type quantiles struct{ p50, p99, most time.Duration }

func quantilesOf(took []time.Duration) quantiles {
	sorted := slices.Sorted(slices.Values(took))
	if len(sorted) == 0 {
		return quantiles{}
	}
	at := func(q float64) time.Duration { return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)] }
	return quantiles{at(0.5), at(0.99), sorted[len(sorted)-1]}
}

func (q quantiles) String() string {
	return fmt.Sprintf("p50 %.1f, p99 %.1f, most %.0f ms", milliseconds(q.p50), milliseconds(q.p99), milliseconds(q.most))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

package story

import (
	"testing"
	"time"
)

// The more partitions a log has, the less often an indexer asks for records that there are not, within bounds.
func TestFetchesOfManyPartitionsWaitLonger(t *testing.T) {
	for partitions, want := range map[int]time.Duration{0: time.Second, 2000: time.Second, 3000: 1500 * time.Millisecond, 10_000: 5 * time.Second, 20_000: 5 * time.Second} {
		if got := fetchWaitOf(partitions); got != want {
			t.Errorf("%d partitions: %v, want %v", partitions, got, want)
		}
	}
}

// The more partitions a log has, the longer an indexer rests between polls, within bounds; with few, it does not.
func TestPollsOfManyPartitionsRest(t *testing.T) {
	for partitions, want := range map[int]time.Duration{0: 0, 499: 0, 500: 5 * time.Millisecond, 8000: 80 * time.Millisecond, 100_000: 200 * time.Millisecond} {
		if got := fetchRestOf(partitions); got != want {
			t.Errorf("%d partitions: %v, want %v", partitions, got, want)
		}
	}
}

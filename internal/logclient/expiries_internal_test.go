package logclient

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Case: deliveries of two timeouts, one of which had waited for a slot and comes later than some that began after it. Each ends when
// its own time is over, those that were removed do not, and nothing is left afterwards.
func TestEachDeliveryExpiresAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := &Client{outage: &outage{}, topics: newTopicTable()}, time.Now()
		var mu sync.Mutex // protects ended: each timer has a goroutine of its own
		ended := make(map[string]time.Duration)
		add := func(name string, begun, timeout time.Duration) *delivery {
			d := &delivery{c: c, record: &kgo.Record{}, begun: start.Add(begun), timeout: timeout}
			d.done = func(err error) {
				mu.Lock()
				ended[name] = time.Since(start)
				mu.Unlock()
				if u, ok := errors.AsType[*Unacknowledged](err); !ok || !u.MayBeInLog || u.Tried != timeout {
					t.Errorf("%s: %+v", name, err)
				}
			}
			c.expiries.add(d)
			return d
		}
		add("one", 0, 10*time.Second)
		removed := add("removed", 0, 10*time.Second)
		add("short", 0, 3*time.Second)
		time.Sleep(2 * time.Second)
		add("two", 2*time.Second, 10*time.Second)
		add("late", time.Second, 10*time.Second)
		c.expiries.remove(removed)
		c.expiries.remove(removed)
		time.Sleep(18 * time.Second)
		add("first", 15*time.Second, 10*time.Second)
		add("before first", 14*time.Second, 10*time.Second) // when the timer runs for first
		gone := add("gone", 20*time.Second, 10*time.Second)
		c.expiries.remove(gone)
		time.Sleep(time.Minute)
		synctest.Wait()
		for name, want := range map[string]time.Duration{
			"one": 10, "short": 3, "two": 12, "late": 11, "first": 25, "before first": 24,
		} {
			if got := ended[name]; got != want*time.Second {
				t.Errorf("%s ended after %v, want %vs", name, got, int(want))
			}
		}
		if len(ended) != 6 || len(c.expiries.queues) != 0 {
			t.Errorf("ended: %v; %d queues are left", ended, len(c.expiries.queues))
		}
	})
}

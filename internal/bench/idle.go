package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Idle has consumer groups of one member each wait for records that do not come, and measures for d what that costs the
// broker. Each partition of the topic holds one record: the groups are in their long polls when they have had them all.
// Then it waits for settle, so that what joining took is over. There are no records and no latency.
func Idle(ctx context.Context, e Endpoint, topic string, partitions, groups int, settle, d time.Duration, p *Progress) (Measured, error) {
	listen, stop := context.WithCancelCause(ctx)
	var listening sync.WaitGroup
	defer func() {
		stop(nil)
		listening.Wait()
	}()
	var got atomic.Int64
	p.counts(got.Load)
	for range groups {
		if err := e.readAlong(listen, stop, &listening, topic, &got); err != nil {
			return Measured{}, err
		}
	}
	want := int64(partitions) * int64(groups)
	for deadline := time.Now().Add(settleTimeout); got.Load() < want; {
		if time.Now().After(deadline) {
			return Measured{}, fmt.Errorf("consumers got %d of %d records in %v", got.Load(), want, settleTimeout)
		}
		if err := pause(listen, 10*time.Millisecond); err != nil {
			return Measured{}, err
		}
	}
	p.counts(nil)
	if err := pause(listen, settle); err != nil {
		return Measured{}, err
	}
	var m Measured
	t := startMeter(e)
	err := pause(listen, d)
	t.stop(&m)
	return m, err
}

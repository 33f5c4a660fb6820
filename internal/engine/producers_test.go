package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// TestProducersAreBounded invents producer ids until they are refused. Producers that are known must go on, others again
// after a topic was deleted or after an hour without a batch, and the bound must hold after a restart.
func TestProducersAreBounded(t *testing.T) {
	begin := time.Now()
	var later atomic.Int64 // by so many nanoseconds it is later than begin
	disk := vfs.NewMem()
	config := Config{FS: disk, MaxProducers: 20, Now: func() time.Time { return begin.Add(time.Duration(later.Load())) }}
	e := openWith(t, config)
	topics := []Partition{{Topic: makeTopic(t, e, "a", 1).ID}, {Topic: makeTopic(t, e, "b", 1).ID}}
	send := func(pid int64, sequence int32) error {
		return appendNow(e, topics[pid%2], newBatch(pid, sequence, fmt.Sprint(pid))).Err
	}
	for pid := range int64(20) {
		if err := send(pid, 0); err != nil {
			t.Fatal(pid, err)
		}
	}
	for range 2 {
		if err := send(20, 0); !errors.Is(err, txn.ErrTooManyProducers) {
			t.Errorf("the producer after the last: %v", err)
		}
		e.Close()
		e = openWith(t, config)
	}
	for pid := range int64(20) {
		if err := send(pid, 1); err != nil {
			t.Errorf("producer %d goes on: %v", pid, err)
		}
	}
	if err := e.DeleteTopic(noWait, topics[1].Topic); err != nil {
		t.Fatal(err)
	}
	if err := send(20, 0); err != nil {
		t.Errorf("after a topic was deleted: %v", err)
	}
	for pid := int64(22); pid < 40; pid += 2 {
		if err := send(pid, 0); err != nil {
			t.Fatal(pid, err)
		}
	}
	if err := send(40, 0); !errors.Is(err, txn.ErrTooManyProducers) {
		t.Errorf("when it is full again: %v", err)
	}
	later.Store(int64(2 * time.Hour))
	if err := e.maintenance.runTask(t.Context(), e.maintenance.applyRetention); err != nil {
		t.Fatal(err)
	}
	if err := send(40, 0); err != nil {
		t.Errorf("when the others were idle for two hours: %v", err)
	}
}

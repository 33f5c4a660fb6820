//go:build !linux

package framework

import "time"

// alarm is a timer for one goroutine, as precise as the runtime's.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// sleep blocks for d.
func (*alarm) sleep(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (*alarm) close() {}

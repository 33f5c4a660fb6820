//go:build !linux

package framework

import "time"

// alarm lets one goroutine sleep as precisely as the runtime does.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// sleep blocks for d.
func (*alarm) sleep(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (*alarm) close() {}

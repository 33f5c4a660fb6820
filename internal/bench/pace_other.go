//go:build !linux

package bench

import "time"

// steadyThread does nothing on this system, so sleeps are as precise as the system makes them.
func steadyThread() (release func()) { return func() {} }

func preciseSleep(d time.Duration) { time.Sleep(d) }

//go:build !linux

package bench

import "time"

func steadyThread() (release func()) { return func() {} }

func preciseSleep(d time.Duration) { time.Sleep(d) }

//go:build !linux

package kafka

import "time"

var began = time.Now()

// threadCPU returns the time since the start of the test, because the CPU time of a thread is not available on this
// platform.
func threadCPU() time.Duration { return time.Since(began) }

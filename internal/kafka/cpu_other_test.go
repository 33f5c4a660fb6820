//go:build !linux

package kafka

import "time"

var began = time.Now()

// threadCPU is wall time where the thread's own time cannot be asked for.
func threadCPU() time.Duration { return time.Since(began) }

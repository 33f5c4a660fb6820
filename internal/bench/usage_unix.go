//go:build unix && !linux

package bench

import (
	"errors"
	"syscall"
	"time"
)

// ownUsage returns the usage of this process. It reports CPU time but no memory.
func ownUsage() Usage {
	var u Usage
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// ProcessUsage returns errors.ErrUnsupported, as this system has no interface to read the usage of another process.
func ProcessUsage(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }

//go:build !linux

package bench

import (
	"errors"
	"syscall"
	"time"
)

func ownUsage() Usage {
	var u Usage
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// ProcessUsage is the usage of another process: here the system does not tell.
func ProcessUsage(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }

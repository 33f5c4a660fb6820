package bench

import (
	"errors"
	"syscall"
	"time"
)

// ownUsage returns the usage of this process. It reports CPU time but no memory.
func ownUsage() Usage {
	var u Usage
	var created, exited, kernel, user syscall.Filetime
	process, err := syscall.GetCurrentProcess()
	if err == nil && syscall.GetProcessTimes(process, &created, &exited, &kernel, &user) == nil {
		u.CPU = duration(kernel) + duration(user)
	}
	return u
}

// duration converts a Filetime, which counts units of 100 ns.
func duration(f syscall.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}

// ProcessUsage returns errors.ErrUnsupported, as this system has no interface to read the usage of another process.
func ProcessUsage(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }

package kafka

import (
	"runtime"
	"syscall"
	"time"
)

// threadCPU returns the CPU time that the calling goroutine's thread has used, so that a measurement does not depend on
// the load of the machine. It locks the goroutine to its thread.
func threadCPU() time.Duration {
	runtime.LockOSThread()
	const rusageThread = 1
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

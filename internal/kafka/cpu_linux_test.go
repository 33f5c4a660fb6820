package kafka

import (
	"runtime"
	"syscall"
	"time"
)

// threadCPU is the CPU time of this goroutine's thread, so that a busy machine doesn't count against a frame. The
// goroutine stays on its thread from the first call on.
func threadCPU() time.Duration {
	runtime.LockOSThread()
	const rusageThread = 1
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package bench

import (
	"runtime"
	"syscall"
	"time"
)

const prSetTimerSlack = 29 // PR_SET_TIMERSLACK of prctl(2)

// steadyThread gives the calling goroutine a thread whose sleeps the kernel does not round by its usual 50 µs. Call
// what it returns to give it back.
func steadyThread() (release func()) {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	return func() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 0, 0) // 0: as it was
		runtime.UnlockOSThread()
	}
}

// preciseSleep blocks for d. time.Sleep may be a millisecond late when all else sleeps, too, which would turn 10,000
// records a second into ten at once every millisecond.
func preciseSleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // woken early: the caller looks at the clock again
}

package bench

import (
	"runtime"
	"syscall"
	"time"
)

const prSetTimerSlack = 29 // the option PR_SET_TIMERSLACK of prctl(2)

// steadyThread locks the calling goroutine to a thread, and sets the timer slack of the thread from the usual 50 µs
// to 1 ns, so that its sleeps are precise. The caller must call release when it no longer sleeps.
func steadyThread() (release func()) {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	return func() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 0, 0) // 0 restores the default
		runtime.UnlockOSThread()
	}
}

// preciseSleep blocks for about d. It may return early. time.Sleep is not used because it may be a millisecond late
// when all other goroutines sleep, which would turn 10,000 records per second into bursts of ten every millisecond.
func preciseSleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // if it is interrupted, the caller checks the clock and sleeps again
}

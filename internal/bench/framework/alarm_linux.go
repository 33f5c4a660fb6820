package framework

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm is a precise timer for one goroutine. It is a timerfd, which the runtime waits for as it does for connections: a
// sleep of the runtime may be a millisecond late while the processors are idle, and one of the system keeps a processor
// from other goroutines. The caller must close it.
type alarm struct{ file *os.File }

const (
	clockMonotonic = 1     // CLOCK_MONOTONIC
	tfdNonblock    = 0x800 // TFD_NONBLOCK
)

func newAlarm() (*alarm, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, tfdNonblock, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	return &alarm{os.NewFile(fd, "timerfd")}, nil
}

// sleep blocks for d, which must be above 0.
func (a *alarm) sleep(d time.Duration) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	spec := [2]syscall.Timespec{1: syscall.NsecToTimespec(int64(d))} // struct itimerspec: the interval, which is none, and the time
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("timerfd_settime", errno)
	}
	var expirations [8]byte
	_, err = a.file.Read(expirations[:])
	return err
}

func (a *alarm) close() { a.file.Close() }

package testbed

import "syscall"

// ownProcessGroup returns attributes that put a new process into a process group of its own, so that an interrupt
// from the terminal does not reach it.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

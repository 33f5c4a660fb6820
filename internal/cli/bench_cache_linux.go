//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package cli

import (
	"os"
	"syscall"
)

const fadvDontNeed = 4 // POSIX_FADV_DONTNEED of posix_fadvise(2)

// dropFromCache makes a file's pages clean and drops them.
func dropFromCache(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, fadvDontNeed, 0, 0); errno != 0 {
		return &os.PathError{Op: "fadvise", Path: name, Err: errno}
	}
	return nil
}

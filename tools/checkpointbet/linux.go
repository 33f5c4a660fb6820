//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Numbers of system calls, by GOARCH. Package syscall does not have them on every architecture.
var sysSyncfs, sysIoprioSet = map[string]uintptr{"amd64": 306, "arm64": 267}, map[string]uintptr{"amd64": 251, "arm64": 30}

// Flags of sync_file_range(2). write is SYNC_FILE_RANGE_WRITE, which starts the writing. writeAndWait adds
// WAIT_BEFORE and WAIT_AFTER.
const (
	write        = 2
	writeAndWait = 1 | 2 | 4
)

func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// syncFileRange writes the dirty pages of sizeBytes bytes of f, starting at offset from. If sizeBytes is 0, it writes
// up to the end of the file.
func syncFileRange(f *os.File, from, sizeBytes int64, flags int) error {
	return syscall.SyncFileRange(int(f.Fd()), from, sizeBytes, flags)
}

func syncfs(f *os.File) error { return call(sysSyncfs, f.Fd(), 0, 0) }

// idleClass sets the I/O priority of the calling thread to IOPRIO_CLASS_IDLE.
func idleClass() error { return call(sysIoprioSet, 1, 0, 3<<13) }

// call makes the system call whose number for this architecture is in numbers.
func call(numbers map[string]uintptr, a, b, c uintptr) error {
	number, ok := numbers[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no system call numbers for %s", runtime.GOARCH)
	}
	if _, _, errno := syscall.Syscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// fileSystem is a file system to be measured.
type fileSystem struct {
	name   string // name in the printed table
	dir    string // directory to measure in
	image  string // image file of the file system; "" if it was not mounted by this program
	device string // loop device of the image
}

// imageBytes is the size of an image file.
const imageBytes = 4 << 30

// mount creates a file system of the given kind in an image file in dir and mounts it. It writes all blocks of the
// image first, and the loop device bypasses the page cache, so that the file system below has little influence on
// what is measured. The caller must call unmount.
func mount(dir, kind string) (fileSystem, error) {
	f := fileSystem{name: kind + " on a loop device", dir: filepath.Join(dir, "checkpointbet-"+kind)}
	f.image = f.dir + ".img"
	for _, command := range [][]string{
		{"mkdir", "-p", f.dir},
		{"dd", "if=/dev/zero", "of=" + f.image, "bs=1M", fmt.Sprint("count=", imageBytes>>20), "conv=fsync", "status=none"},
		{"mkfs." + kind, "-q", f.image},
		{"losetup", "--find", "--show", "--direct-io=on", f.image},
		{"mount", "", f.dir},
	} {
		if command[0] == "mount" {
			command[1] = f.device
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			f.unmount()
			return f, fmt.Errorf("%v: %w: %s", command, err, out)
		}
		if command[0] == "losetup" {
			f.device = strings.TrimSpace(string(out))
		}
	}
	return f, nil
}

// unmount undoes mount, also if mount has failed halfway.
func (f fileSystem) unmount() {
	if out, err := exec.Command("umount", f.dir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "umount %s: %v: %s\n", f.dir, err, out)
	}
	if f.device != "" {
		if out, err := exec.Command("losetup", "--detach", f.device).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "losetup --detach %s: %v: %s\n", f.device, err, out)
		}
	}
	os.Remove(f.image)
	os.Remove(f.dir)
}

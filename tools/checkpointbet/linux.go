//go:build linux

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

// Not in package syscall for every architecture; the kernel numbers them alike on amd64 only.
var sysSyncfs, sysIoprioSet = map[string]uintptr{"amd64": 306, "arm64": 267}, map[string]uintptr{"amd64": 251, "arm64": 30}

// sync_file_range(2): SYNC_FILE_RANGE_WRITE, and with WAIT_BEFORE and WAIT_AFTER.
const (
	write        = 2
	writeAndWait = 1 | 2 | 4
)

func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// syncFileRange takes a length of 0 for all that follows.
func syncFileRange(f *os.File, from, sizeBytes int64, flags int) error {
	return syscall.SyncFileRange(int(f.Fd()), from, sizeBytes, flags)
}

func syncfs(f *os.File) error { return call(sysSyncfs, f.Fd(), 0, 0) }

// idleClass puts the calling thread into IOPRIO_CLASS_IDLE.
func idleClass() error { return call(sysIoprioSet, 1, 0, 3<<13) }

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

// place is a directory to measure in.
type place struct{ name, dir, image, device string }

const imageBytes = 4 << 30

// mount makes a file system of a kind in a file and mounts it. The file's own blocks are written first, and the loop
// device goes past the page cache, so that what lies below has little to add.
func mount(dir, kind string) (place, error) {
	p := place{name: kind + " on a loop device", dir: filepath.Join(dir, "checkpointbet-"+kind)}
	p.image = p.dir + ".img"
	for _, command := range [][]string{
		{"mkdir", "-p", p.dir},
		{"dd", "if=/dev/zero", "of=" + p.image, "bs=1M", fmt.Sprint("count=", imageBytes>>20), "conv=fsync", "status=none"},
		{"mkfs." + kind, "-q", p.image},
		{"losetup", "--find", "--show", "--direct-io=on", p.image},
		{"mount", "", p.dir},
	} {
		if command[0] == "mount" {
			command[1] = p.device
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			p.unmount()
			return p, fmt.Errorf("%v: %w: %s", command, err, out)
		}
		if command[0] == "losetup" {
			p.device = strings.TrimSpace(string(out))
		}
	}
	return p, nil
}

// unmount takes back what mount has done, or as far as it came.
func (p place) unmount() {
	if out, err := exec.Command("umount", p.dir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "umount %s: %v: %s\n", p.dir, err, out)
	}
	if p.device != "" {
		if out, err := exec.Command("losetup", "--detach", p.device).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "losetup --detach %s: %v: %s\n", p.device, err, out)
		}
	}
	os.Remove(p.image)
	os.Remove(p.dir)
}

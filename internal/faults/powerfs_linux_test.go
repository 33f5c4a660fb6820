package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kadm"
)

var (
	powerSeed  = flag.Uint64("powerfs.seed", 0, "seed of TestPowerCutsOfFileSystems; 0: a new one each time")
	powerCount = flag.Int("powerfs.count", 0, "how many power cuts TestPowerCutsOfFileSystems makes, over all file systems; 0: it is skipped")
)

// Case: a real file system loses its power under a broker under load: everything that the kernel had not yet written,
// its own journal included, is gone. It is mounted again and the broker started on what is left. What it has acknowledged
// stays true.
func TestPowerCutsOfFileSystems(t *testing.T) {
	if *powerCount == 0 {
		t.Skip("mounts file systems, as root: run it with -powerfs.count=300")
	}
	for _, kind := range []struct {
		name  string
		bytes int64 // of the image; as small as mkfs allows, or as its name says
		mkfs  []string
	}{
		{"ext4", 96 << 20, []string{"mkfs.ext4", "-q", "-F"}},
		{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			seed := *powerSeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano())
			}
			defer func() {
				if t.Failed() {
					t.Logf("replay (the schedules differ): go test ./internal/faults -run %s -powerfs.count=%d -powerfs.seed=%d", t.Name(), *powerCount, seed)
				}
			}()
			cutPower(t, newMount(t, kind.bytes, kind.mkfs), seed, *powerCount/2)
		})
	}
}

func cutPower(t *testing.T, fs *mount, seed uint64, count int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	dir := filepath.Join(fs.dir, "data")
	o := childOptions{Dir: dir, Small: true}
	w := newWorld(t, seed)
	current := startChild(t, w.listen, o)
	t.Cleanup(func() { current.kill() })
	awaitReady(t, current)
	w.begin()
	admin := kadm.NewClient(w.client())
	for cuts := 1; cuts <= count && !t.Failed(); cuts++ {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		broken, err := w.audit(ctx, cuts%calmEvery == 0)
		cancel()
		if err != nil {
			t.Errorf("I8: cut %d: the audit: %v\n%s", cuts, err, current.stderr.String())
		}
		for _, what := range broken {
			t.Errorf("cut %d: %s", cuts, what)
		}
		if cuts%calmEvery == 0 {
			if !w.settle() {
				t.Errorf("I8: %d records got no answer within %v\n%s", w.flowing.Load(), patience, current.stderr.String())
			}
			w.nextTopic(admin)
		}
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		fs.cut(t)
		if current.kill() {
			t.Errorf("I8: cut %d: %s", cuts, current.fault())
		}
		fs.remount(t)
		current = startChild(t, w.listen, o)
		awaitReady(t, current)
	}
	if !w.settle() {
		t.Errorf("I8: %d records got no answer within %v\n%s", w.flowing.Load(), patience, current.stderr.String())
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	broken, err := w.audit(ctx, true)
	if err != nil {
		t.Errorf("I8: the last audit: %v\n%s", err, current.stderr.String())
	}
	complain(t, current, broken)
	w.end()
	if err := current.close(); err != nil {
		t.Errorf("a close in good order: %v", err)
	}
	t.Logf("%d power cuts, %d promises", count, w.book.count())
}

// mount is a file system in a file.
type mount struct{ image, dir string }

// newMount makes and mounts a file system; where that is not possible it skips the test, with the reason.
func newMount(t *testing.T, sizeBytes int64, mkfs []string) *mount {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skipf("%v (Debian: apt-get install e2fsprogs xfsprogs)", err)
	}
	fs := &mount{image: filepath.Join(t.TempDir(), "image"), dir: filepath.Join(t.TempDir(), "mnt")}
	if err := os.WriteFile(fs.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(fs.image, sizeBytes); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], fs.image)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", mkfs[0], err, out)
	}
	if err := os.Mkdir(fs.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fs.attach(); err != nil {
		t.Skipf("this kernel, or its owner, does not let us mount %s: %v", mkfs[0], err)
	}
	t.Cleanup(func() {
		if err := fs.detach(); err != nil {
			t.Error(err)
		}
	})
	if err := fs.shutdown(); err != nil {
		t.Skipf("FS_IOC_SHUTDOWN: %v", err)
	}
	fs.remount(t)
	return fs
}

func (m *mount) attach() error {
	if out, err := exec.Command("mount", "-o", "loop", m.image, m.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

func (m *mount) detach() error {
	for until := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := syscall.Unmount(m.dir, 0)
		if err == nil || time.Now().After(until) {
			return err
		}
	}
}

func (m *mount) remount(t *testing.T) {
	t.Helper()
	if err := m.detach(); err != nil {
		t.Fatalf("unmount: %v", err)
	}
	if err := m.attach(); err != nil {
		t.Fatal(err)
	}
}

func (m *mount) cut(t *testing.T) {
	t.Helper()
	if err := m.shutdown(); err != nil {
		t.Fatalf("FS_IOC_SHUTDOWN: %v", err)
	}
}

// shutdown makes the file system stop at once: nothing more is written to the device, and every call fails with EIO.
// The number is that of include/uapi/linux/fs.h (xfs: XFS_IOC_GOINGDOWN); with the flag, its journal isn't flushed.
func (m *mount) shutdown() error {
	const fsIocShutdown, noLogFlush = 0x8004587D, 2
	f, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), fsIocShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}

package vfs

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// A directory has one owner; an attempt to be the second returns the owner's process id, and succeeds after Release.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	must(t, err)
	_, err = Lock(dir)
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Fatalf("the second owner got %v", err)
	}
	must(t, first.Release(), first.Release())
	second, err := Lock(dir)
	must(t, err, second.Release())
	if _, err := Lock(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// A killed owner leaves the directory free.
func TestLockEndsWithProcess(t *testing.T) {
	dir := os.Getenv("TIDINGS_TEST_LOCK")
	if dir != "" {
		lock, err := Lock(dir)
		must(t, err)
		defer lock.Release() // keeps the lock reachable: the garbage collector closes files that are not
		os.Stdout.WriteString("locked\n")
		select {}
	}
	dir = t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithProcess$")
	child.Env = append(os.Environ(), "TIDINGS_TEST_LOCK="+dir)
	out, err := child.StdoutPipe()
	must(t, err, child.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	_, err = Lock(dir)
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != child.Process.Pid {
		t.Errorf("got %v, want the child's pid %d", err, child.Process.Pid)
	}
	must(t, child.Process.Kill())
	child.Wait()
	lock, err := Lock(dir)
	must(t, err, lock.Release())
}

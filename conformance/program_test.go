package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// bin is the directory of the built programs: tidings and the services of the shop.
var bin string

// TestMain builds the programs and runs the tests.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tidings-conformance-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		build := exec.Command("go", "build", "-o", dir+"/", "./cmd/tidings", "./examples/shop/cmd/...")
		build.Dir = ".."
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build:", err)
			return 1
		}
		return m.Run()
	}())
}

// program is a process that a test has started. Its output is logged if the test fails.
type program struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer  // stdout
	err  bytes.Buffer  // stderr
	done chan struct{} // closed when the process has ended
}

// start starts a built program. It is killed at the end of the test if it still runs.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return startFrom(t, bin, name, args...)
}

// startFrom is like start, for a program in the directory folder.
func startFrom(t *testing.T, folder, name string, args ...string) *program {
	t.Helper()
	return startCommand(t, filepath.Join(folder, name), args...)
}

// startCommand is like start, for any command.
func startCommand(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{name: filepath.Base(name), cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %v: %v\nstdout: %s\nstderr: %s", name, args, p.cmd.ProcessState, tail(p.out.Bytes()), tail(p.err.Bytes()))
		}
	})
	return p
}

// run runs a built program until it ends, and returns its standard output. It fails the test if the exit code is not 0,
// or after limit.
func run(t *testing.T, limit time.Duration, name string, args ...string) []byte {
	t.Helper()
	p := start(t, name, args...)
	if code := p.wait(t, limit); code != 0 {
		t.Fatalf("%s %v: exit %d\n%s", name, args, code, tail(p.err.Bytes()))
	}
	return p.out.Bytes()
}

// wait waits until the process has ended, and returns its exit code, or -1 if a signal has ended it. After limit, it
// ends the process and fails the test.
func (p *program) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	if p.ended() { // a limit of 0 must not count for a process that has ended
		return p.cmd.ProcessState.ExitCode()
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // makes a Go program print its goroutines and end
		<-p.done
		t.Fatalf("%s did not end within %v\nstdout: %s\nstderr: %s", p.name, limit, tail(p.out.Bytes()), tail(p.err.Bytes()))
		return 0
	}
}

// kill sends SIGKILL, and waits until the process has ended.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop sends SIGTERM, waits until the process has ended, and returns its exit code.
func (p *program) stop(t *testing.T) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait(t, 30*time.Second)
}

// ended reports whether the process has ended.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tool runs a command that is installed on the machine, with stdin as its standard input, and returns its standard
// output. It fails the test if the command fails or is not installed.
func tool(t *testing.T, stdin string, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is not on this machine: .ci/run installs what these tests need", name)
	}
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, tail(stderr.Bytes()))
	}
	return out
}

// freeAddress returns a loopback address, "host:port", on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve starts `tidings serve` on a data directory, and returns when the broker accepts connections. more are further
// arguments.
func serve(t *testing.T, data, address string, more ...string) *program {
	t.Helper()
	p := start(t, "tidings", append([]string{"serve", "--data", data, "--listen", address}, more...)...)
	for deadline := time.Now().Add(30 * time.Second); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return p
		}
		if p.ended() || time.Now().After(deadline) {
			t.Fatalf("serve takes no connection at %s\n%s", address, tail(p.err.Bytes()))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// seeded returns a random source and logs its seed. The environment variable CONFORMANCE_SEED sets the seed, to replay
// a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CONFORMANCE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("CONFORMANCE_SEED: %v", err)
		}
	}
	t.Logf("replay with CONFORMANCE_SEED=%d go test -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewPCG(seed, 0))
}

// input returns the path of a CSV file of orders: the one that TIDINGS_ORDERS names, else a file of three months if it
// is there, else the file of one day in the repository.
func input(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TIDINGS_ORDERS"), "../../shared/data/online-retail-2010-12-to-2011-02.csv.gz", "../examples/shop/input/online-retail-2010-12-01.csv.gz"} {
		if name == "" {
			continue
		}
		if full, err := filepath.Abs(name); err == nil {
			if _, err := os.Stat(full); err == nil {
				t.Logf("orders: %s", filepath.Base(full))
				return full
			}
		}
	}
	t.Fatal("no file of orders: set TIDINGS_ORDERS")
	return ""
}

// tail returns the last 6000 bytes of b.
func tail(b []byte) []byte {
	const most = 6000
	return b[max(0, len(b)-most):]
}

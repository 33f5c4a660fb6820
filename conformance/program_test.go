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

// bin is the folder with the built programs: tidings and the shop's services.
var bin string

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

// program is one running process of ours. Its output is kept and shown when the test fails.
type program struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer // stdout
	err  bytes.Buffer // stderr
	done chan struct{}
}

// start runs a built program until it ends or the test does.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return startFrom(t, bin, name, args...)
}

// startFrom is start with the program of another build.
func startFrom(t *testing.T, folder, name string, args ...string) *program {
	t.Helper()
	return startCommand(t, filepath.Join(folder, name), args...)
}

// startCommand is start with any program of the machine's.
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

// run runs a built program to its end and returns its stdout; a non-zero exit fails the test.
func run(t *testing.T, limit time.Duration, name string, args ...string) []byte {
	t.Helper()
	p := start(t, name, args...)
	if code := p.wait(t, limit); code != 0 {
		t.Fatalf("%s %v: exit %d\n%s", name, args, code, tail(p.err.Bytes()))
	}
	return p.out.Bytes()
}

// wait returns the exit code; -1 after a signal.
func (p *program) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines tell why
		<-p.done
		t.Fatalf("%s did not end within %v\nstdout: %s\nstderr: %s", p.name, limit, tail(p.out.Bytes()), tail(p.err.Bytes()))
		return 0
	}
}

// kill is kill -9, and returns once the process is gone.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop is SIGTERM, and returns the exit code.
func (p *program) stop(t *testing.T) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait(t, 30*time.Second)
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tool runs a program of the machine's and returns its stdout.
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

// freeAddress is a loopback address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve starts the broker on a data directory and waits until it takes connections.
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

// seeded gives the test's randomness; CONFORMANCE_SEED replays a run.
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

// input is the file of real orders: three months where the workplace has them, else the day that the repo carries.
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

func tail(b []byte) []byte {
	const most = 6000
	return b[max(0, len(b)-most):]
}

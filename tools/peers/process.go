//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"tidings.dev/internal/bench"
)

const (
	startTimeout = time.Minute // maximum time until a server accepts connections
	stopTimeout  = 30 * time.Second
)

// process is a server under test. It cannot outlive this program.
type process struct {
	cmd   *exec.Cmd
	said  *lastBytes
	ended chan struct{}
	input io.Closer // its stdin, which is closed when this program ends
}

// startProcess starts a server and waits until it accepts connections at an address.
func startProcess(ctx context.Context, address, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), said: &lastBytes{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	// This program handles ctrl-C. If this program is killed, the kernel kills the server.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.input = input
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // its output shows why it ended
		close(p.ended)
	}()
	for deadline := time.Now().Add(startTimeout); ; {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s has ended: %s", name, p.said)
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), p.stop())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("%s takes no connection in %v: %s", name, startTimeout, p.said), p.stop())
		}
	}
}

// stop asks the process to end, and kills it if it does not end within stopTimeout.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if the process has ended
	p.input.Close()
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end in %v and was killed", p.cmd.Path, stopTimeout)
	}
}

func (p *process) usage() (bench.Usage, error) { return bench.ProcessUsage(p.cmd.Process.Pid) }

// lastBytes is a writer that keeps the last keptOutputBytes bytes written to it, for error messages about a server
// that has ended. It is safe for concurrent use. mu protects b.
type lastBytes struct {
	mu sync.Mutex
	b  []byte
}

// keptOutputBytes is the number of bytes of output that are kept.
const keptOutputBytes = 4 << 10

func (l *lastBytes) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	l.b = l.b[max(len(l.b)-keptOutputBytes, 0):]
	return len(b), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.b))
}

// command runs a program to its end. Its error has the end of the program's output. The error matches errAbsent if
// there is no such program.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: no %s", errAbsent, name)
	}
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(out[max(len(out)-keptOutputBytes, 0):]))
	}
	return nil
}

// absent returns err as an error that matches errAbsent.
func absent(err error) error {
	if errors.Is(err, errAbsent) {
		return err
	}
	return fmt.Errorf("%w: %w", errAbsent, err)
}

// output returns the first line of the output of a program, or "" if the program fails.
func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(line)
}

// freeAddress returns a loopback address with a port on which no process listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

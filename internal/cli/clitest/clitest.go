// Package clitest lets tests run command lines as a user would.
package clitest

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
)

// Program runs command lines of a program that has some of the commands of tidings. Its methods fail the test on
// unexpected errors.
type Program struct {
	t        testing.TB
	commands func(*shell.Session) []*cobra.Command
	data     string // added as --data to each command line, unless empty
}

// New returns a Program with the given commands.
func New(t testing.TB, commands func(*shell.Session) []*cobra.Command) Program {
	return Program{t: t, commands: commands}
}

// On returns a copy of the program that adds --data to each command line.
func (p Program) On(data string) Program {
	p.data = data
	return p
}

// Result is the outcome of a command line.
type Result struct {
	Code           int // the exit code
	Stdout, Stderr string
}

// Run runs a command line with an empty stdin and returns its result. The command line is cancelled after a minute.
func (p Program) Run(args ...string) Result {
	p.t.Helper()
	return p.Pipe("", args...)
}

// Pipe is like Run, with the given stdin.
func (p Program) Pipe(stdin string, args ...string) Result {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	return p.RunUntil(ctx, stdin, args...)
}

// RunUntil is like Pipe, but the command line is cancelled when ctx is done.
func (p Program) RunUntil(ctx context.Context, stdin string, args ...string) Result {
	p.t.Helper()
	return p.Start(ctx, stdin, args...).Wait()
}

// Running is a command line that was started by Start. Stdout and Stderr may be read while it runs.
type Running struct {
	Stdout, Stderr Buffer
	ended          chan int
}

// Start runs a command line in a goroutine. It is cancelled when ctx is done.
func (p Program) Start(ctx context.Context, stdin string, args ...string) *Running {
	if p.data != "" {
		args = append(args, "--data", p.data)
	}
	r := &Running{ended: make(chan int, 1)}
	go func() { r.ended <- shell.Run(ctx, args, strings.NewReader(stdin), &r.Stdout, &r.Stderr, p.commands) }()
	return r
}

// Await blocks until the command line has written text to stdout or stderr. It fails the test if that takes more than
// a minute.
func (r *Running) Await(t testing.TB, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(r.Stdout.String()+r.Stderr.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing of %q in\nstdout: %s\nstderr: %s", text, r.Stdout.String(), r.Stderr.String())
		}
	}
}

// Wait blocks until the command line has ended and returns its result. It may be called once.
func (r *Running) Wait() Result {
	code := <-r.ended
	return Result{code, r.Stdout.String(), r.Stderr.String()}
}

// Want fails the test unless r has the given exit code and stdout or stderr contains each of the texts. It returns r.
func (p Program) Want(r Result, code int, texts ...string) Result {
	p.t.Helper()
	if r.Code != code {
		p.t.Fatalf("exit %d, want %d\nstdout: %s\nstderr: %s", r.Code, code, r.Stdout, r.Stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.Stdout+r.Stderr, text) {
			p.t.Errorf("nothing of %q in\nstdout: %s\nstderr: %s", text, r.Stdout, r.Stderr)
		}
	}
	return r
}

// Buffer is a buffer that may be read while another goroutine writes to it. The zero value is empty.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns everything that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Broker runs a broker on a temporary directory until the test ends, and returns the directory. It also sets the
// user's cache directory to a temporary one, so that indexes which commands make do not outlive the test.
func Broker(t testing.TB) (dir string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir = t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return dir
}

// FreeAddress returns a loopback address with a port on which no process listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

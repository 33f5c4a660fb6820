package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/kafka"
	"tidings.dev/internal/vfs"
)

// childOptionsVariable is the environment variable that makes this test binary a broker.
const childOptionsVariable = "FAULTS_CHILD"

// childOptions configure the broker in the other process. It listens on file descriptor 3, writes "ready" to its
// standard output when it is open, and closes cleanly when its standard input ends.
type childOptions struct {
	Dir  string
	Hook string // the name of a hook, or "" for none
	When killPoint
	Nth  int64
	// Small selects the engine with small journal files in place of the broker that programs use, whose journal files have
	// 16 MiB. A child with a hook is always small.
	Small bool
}

func (o childOptions) String() string {
	if o.Hook == "" {
		return "at a random time"
	}
	return fmt.Sprintf("%s the %s no. %d", o.When, o.Hook, o.Nth)
}

// All sizes are small, so that a run of a tenth of a second has rolls, checkpoints, evictions and retention.
const (
	childSegmentBytes    = 32 << 10
	childCheckpointBytes = 64 << 10
	childTailBytes       = 32 << 10
	childJournalBytes    = 128 << 10
	childRetention       = 20 * time.Millisecond
)

// runChild is the main function of the broker's process.
func runChild(text string) {
	var o childOptions
	fatal := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
			os.Exit(1)
		}
	}
	fatal("options", json.Unmarshal([]byte(text), &o))
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	fatal("listener", err)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

	var serve func(net.Listener) error
	var stop func() error
	if o.Hook == "" && !o.Small {
		b, err := broker.Open(broker.Config{
			Dir: o.Dir, Logger: logger, SegmentBytes: childSegmentBytes, CheckpointBytes: childCheckpointBytes,
			TailBytes: childTailBytes, RetentionInterval: childRetention, DrainTimeout: time.Second,
		})
		fatal("open", err)
		serve, stop = b.Serve, b.Close
	} else {
		fs, err := vfs.Disk(o.Dir)
		fatal("disk", err)
		if o.Hook != "" {
			fs = newKillFS(fs, hookNamed(o.Hook), o.When, o.Nth)
		}
		e, err := engine.Open(engine.Config{
			FS: fs, Logger: logger, SegmentBytes: childSegmentBytes,
			CheckpointBytes: childCheckpointBytes, TailBytes: childTailBytes, RetentionInterval: childRetention,
			JournalFileBytes: childJournalBytes,
		})
		fatal("open", err)
		server := kafka.New(kafka.Config{Engine: e, Logger: logger})
		serve = func(l net.Listener) error {
			for {
				conn, err := l.Accept()
				if err != nil {
					return err
				}
				go server.ServeConn(context.Background(), conn)
			}
		}
		stop = e.Close
	}
	go serve(listener)
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	fatal("close", stop())
	os.Exit(0)
}

// child is the broker's process, from the test's side.
type child struct {
	options childOptions
	cmd     *exec.Cmd
	stdin   io.Closer
	ready   chan struct{} // closed when it is open
	ended   chan struct{} // closed when the process has ended
	err     error         // how; after ended
	stderr  safeBuffer    // standard error
}

// startChild starts a broker on a listener, which the test keeps open: clients that dial while no broker runs wait for the
// next.
func startChild(t testing.TB, l *net.TCPListener, o childOptions) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := &child{options: o, cmd: exec.Command(os.Args[0]), ready: make(chan struct{}), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childOptionsVariable+"="+string(text))
	c.cmd.ExtraFiles = []*os.File{file}
	c.cmd.Stderr = &c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		var line [6]byte
		if _, err := io.ReadFull(out, line[:]); err == nil {
			close(c.ready)
		}
		io.Copy(io.Discard, out)
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c
}

// patience is how long a test waits for what must happen: the bound of "no hang".
const patience = 20 * time.Second

// kill ends the process now and waits for that. hooked reports whether the process had died of its hook before.
func (c *child) kill() (hooked bool) {
	select {
	case <-c.ended:
		return true
	default:
	}
	c.cmd.Process.Kill()
	<-c.ended
	return false
}

// fault returns what is wrong with how the process has ended by itself, or "" if its hook has killed it.
func (c *child) fault() string {
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return ""
	}
	return fmt.Sprintf("the broker ended by itself: %v\n%s", c.err, c.stderr.String())
}

// close ends the process cleanly.
func (c *child) close() error {
	c.stdin.Close()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.cmd.Process.Signal(syscall.SIGQUIT) // which prints where its goroutines hang
		<-c.ended
	}
	if c.err != nil {
		return fmt.Errorf("%w\n%s", c.err, c.stderr.String())
	}
	return nil
}

// safeBuffer is a bytes.Buffer that may be read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

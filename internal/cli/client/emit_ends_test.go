package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// hangingEmission is a command line that emits lines to a log that hangs, until it is blocked.
type hangingEmission struct {
	where     *hanging
	interrupt context.CancelCauseFunc
	stderr    clitest.Buffer
	out       clitest.Buffer
	ended     chan int
}

// startHanging returns once the command line has 100 events that are acknowledged and reads no more lines, since the log does not
// answer and as many are on their way as may be.
func startHanging(t *testing.T) *hangingEmission {
	t.Helper()
	h := &hangingEmission{where: &hanging{Connection: embedded.WithoutStory(embedded.File(t.TempDir()))}, ended: make(chan int, 1)}
	e := announcer{eventType: "home.door.opened", topic: "doors", subject: "door/{door}", id: "notes-17", fromLine: 1}
	if err := e.openOn(h.where); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.app.Close() })
	in, feed := io.Pipe()
	t.Cleanup(func() { feed.Close() })
	ctx, interrupt := context.WithCancelCause(t.Context())
	h.interrupt = interrupt
	commands := func(s *shell.Session) []*cobra.Command {
		return []*cobra.Command{{Use: "emit", RunE: func(cmd *cobra.Command, _ []string) error { return e.lines(cmd.Context(), s) }}}
	}
	go func() { h.ended <- shell.Run(ctx, []string{"emit"}, in, &h.out, &h.stderr, commands) }()
	line := func(i int) string { return fmt.Sprintf("{\"door\":%d,\"n\":%d}\n", i%7, i) }
	for i := range 100 {
		io.WriteString(feed, line(i))
	}
	eventually(t, func() bool { return strings.Contains(h.out.String(), "notes-17-100\t") })
	h.where.mute.Lock()
	var fed atomic.Int64
	go func() {
		for i := 100; ; {
			var block strings.Builder // of many lines, since the number of blocks on their way is limited, too
			for ; block.Len() < blockBytes/2; i++ {
				block.WriteString(line(i))
			}
			if _, err := io.WriteString(feed, block.String()); err != nil {
				return
			}
			fed.Add(1)
		}
	}()
	for before := int64(-1); before != fed.Load(); time.Sleep(300 * time.Millisecond) {
		before = fed.Load()
	}
	return h
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not hold after a minute")
		}
	}
}

// Case: ctrl-C, or the signal of a supervisor, while the command is blocked with lines on their way, which the log takes after all. It
// says how to go on with the first that is not printed.
func TestAnInterruptOfABlockedEmissionSaysHowToGoOn(t *testing.T) {
	for _, cause := range []error{shell.ErrInterrupted, shell.ErrTerminated} {
		h := startHanging(t)
		h.interrupt(cause)
		h.where.mute.Unlock()
		code := <-h.ended
		durable := strings.Count(h.out.String(), "\n")
		if durable < 100 || code != shell.ExitInterrupted {
			t.Errorf("%v: %d receipts, exit code %d", cause, durable, code)
		}
		for _, want := range []string{
			fmt.Sprintf("stdin, line %d: ", durable+1), fmt.Sprintf("%d events were emitted and durable", durable),
			fmt.Sprintf("--id notes-17 --from-line %d < FILE", durable+1),
		} {
			if !strings.Contains(h.stderr.String(), want) {
				t.Errorf("%v: nothing of %q in %q", cause, want, h.stderr.String())
			}
		}
	}
}

// Case: the log does not answer after the interrupt either. Before the command has waited for it long enough, it has said how to go on
// to who ends it with another signal; then it says so for those that are in doubt.
func TestAnInterruptedEmissionThatWaitsSaysSo(t *testing.T) {
	h := startHanging(t)
	defer h.where.mute.Unlock()
	h.interrupt(shell.ErrInterrupted)
	if code := <-h.ended; code != shell.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	note, fault, _ := strings.Cut(h.stderr.String(), "\n")
	for _, want := range []string{"tidings: interrupted: waiting up to 2s", "goes on with --id notes-17 --from-line 101"} {
		if !strings.Contains(note, want) {
			t.Errorf("nothing of %q in %q", want, note)
		}
	}
	for _, want := range []string{"stdin, line 101: interrupted", "100 events were emitted and durable; of lines 101-", "--id notes-17 --from-line 101 < FILE"} {
		if !strings.Contains(fault, want) {
			t.Errorf("nothing of %q in %q", want, fault)
		}
	}
}

// Case: ctrl-C while one event is emitted. Its id, which was made up, is said.
func TestAnInterruptOfOneEmissionSaysItsID(t *testing.T) {
	where := &hanging{Connection: embedded.WithoutStory(embedded.File(t.TempDir()))}
	e := announcer{eventType: "home.door.opened", topic: "doors"}
	if err := e.openOn(where); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.app.Close() })
	if _, err := e.emit(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	where.mute.Lock()
	defer where.mute.Unlock()
	ctx, interrupt := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { interrupt(shell.ErrInterrupted) })
	var stderr clitest.Buffer
	code := shell.Run(ctx, []string{"emit"}, strings.NewReader(""), io.Discard, &stderr, func(s *shell.Session) []*cobra.Command {
		return []*cobra.Command{{Use: "emit", RunE: func(cmd *cobra.Command, _ []string) error {
			return e.emitted(cmd.Context(), s, []byte("{}"))
		}}}
	})
	if code != shell.ExitInterrupted || !strings.Contains(stderr.String(), "tidings: interrupted\n") || !strings.Contains(stderr.String(), "emit it again with --id \"") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// Case: an interrupt before the log is reached.
func TestAnInterruptBeforeAnythingWasEmitted(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	ctx, interrupt := context.WithCancelCause(t.Context())
	interrupt(shell.ErrInterrupted)
	s.Want(s.RunUntil(ctx, "{}\n", "emit", "door.opened", "--topic", "doors"), shell.ExitInterrupted, "tidings: interrupted before anything was emitted")
	s.Want(s.RunUntil(ctx, "", "emit", "door.opened", "{}", "--topic", "doors"), shell.ExitInterrupted, "tidings: interrupted before anything was emitted")
}

// Case: nobody reads stdout any more, as with head. The program is not ended by the signal, and says what it has emitted.
func TestAnEmissionWhoseOutputIsClosedSaysWhatIsDurable(t *testing.T) {
	const child = "TIDINGS_TEST_EMIT_CHILD"
	if dir := os.Getenv(child); dir != "" {
		args := strings.Fields(os.Getenv(child + "_ARGS"))
		os.Exit(shell.Run(t.Context(), append(args, "--data", dir), os.Stdin, os.Stdout, os.Stderr, Commands))
	}
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors"), 0)
	run := func(stdin, args string) (code int, stderr string) {
		t.Helper()
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		read.Close()
		defer write.Close()
		var text bytes.Buffer
		cmd := exec.Command(os.Args[0], "-test.run=^TestAnEmissionWhoseOutputIsClosedSaysWhatIsDurable$")
		cmd.Env = append(os.Environ(), child+"="+dir, child+"_ARGS="+args)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), write, &text
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), text.String()
	}
	want := func(what string, code int, stderr string, wants ...string) {
		t.Helper()
		if code != shell.ExitFailed {
			t.Errorf("%s: exit code %d", what, code)
		}
		for _, want := range wants {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: nothing of %q in %q", what, want, stderr)
			}
		}
	}
	code, stderr := run("", "emit door.opened {} --topic doors --id one")
	want("one event", code, stderr, "tidings: the receipt cannot be written: ", "the event was emitted and is durable: one at doors/")
	code, stderr = run("{}\n{}\n", "emit door.opened --topic doors --id two")
	want("all lines", code, stderr, "tidings: the receipts cannot be written: ", "2 events were emitted and durable: those of all lines of stdin")
	code, stderr = run(strings.Repeat("{}\n", 1<<20), "emit door.opened --topic doors --id many")
	want("many lines", code, stderr, "tidings: the receipts cannot be written: ", "events were emitted and durable; go on with", "--id many --from-line ")
	var durable, from int
	if _, hint, ok := strings.Cut(stderr, "\n  "); ok {
		durable, _ = strconv.Atoi(strings.Fields(hint)[0])
		_, line, _ := strings.Cut(hint, "--from-line ")
		from, _ = strconv.Atoi(strings.Fields(line + " ?")[0])
	}
	if durable == 0 || from != durable+1 {
		t.Errorf("%d are durable, and it goes on with line %d", durable, from)
	}
	s.Want(s.Run("topic", "ls"), 0, fmt.Sprintf("doors\t4\t%d", 3+durable))
}

// Case: the output fails after some lines, and so does a later line. What is said has the line to go on with.
func TestReceiptsThatCannotBeWritten(t *testing.T) {
	r := newReceipts(shell.NewOutput(failingWriter{}, shell.FormatAuto), continuation{"notes", true}, func() {})
	sent := make(chan []sentLine, 1)
	lines := make([]sentLine, 3)
	for i, err := range []error{nil, nil, &tidings.UnacknowledgedError{MayBeInLog: true, Err: context.Canceled}} {
		lines[i].number = i + 1
		r.awaited.answer(&lines[i], receipt{ID: fmt.Sprint("id", i+1)}, err)
	}
	sent <- lines
	close(sent)
	f, ok := errors.AsType[*shell.Fault](r.collect(t.Context(), sent, t.Logf))
	if !ok || f.Message != "the receipts cannot be written: no more" || f.Exit != shell.ExitFailed {
		t.Fatalf("%+v", f)
	}
	for _, want := range []string{"2 events were emitted and durable; of line 3 it is not known (ids notes-LINE)", "--id notes --from-line 3 < FILE"} {
		if !strings.Contains(f.Hint, want) {
			t.Errorf("nothing of %q in %q", want, f.Hint)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no more") }

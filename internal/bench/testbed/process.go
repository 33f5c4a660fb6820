package testbed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"tidings.dev/internal/bench"
)

// A server of a benchmark runs in another process. The program writes its addresses to stdout as one line of JSON,
// and shuts down when its stdin is closed. It therefore cannot outlive the process that started it. Process
// implements this for the parent, and Announce for the program.

const (
	startTimeout = 30 * time.Second // until the addresses are written; a broker recovers its log before that
	stopTimeout  = 60 * time.Second // until the process has ended; a broker takes a checkpoint before that
)

// Process is a server in another process. The caller must end it with Stop or Kill.
type Process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error // receives the result of cmd.Wait once
}

// Start starts a program and decodes the addresses that it announces into addresses, which must be a pointer. The
// stderr of the process is copied to stderr, which must be safe for concurrent use if the caller writes to it as
// well. Start fails if the program announces nothing within 30 s.
func Start(stderr io.Writer, addresses any, program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = ownProcessGroup() // an interrupt from the terminal reaches only the parent, which then stops the process
	cmd.Env = Environment()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, stdin: stdin, ended: make(chan error, 1)}
	announced := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, addresses)
		}
		announced <- err
		p.ended <- cmd.Wait()
	}()
	select {
	case err = <-announced:
	case <-time.After(startTimeout):
		err = fmt.Errorf("no address was announced in %v", startTimeout)
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("start `%s %s`: %w", program, strings.Join(args, " "), err)
	}
	return p, nil
}

// Environment returns the environment of this process without the TIDINGS_ variables, because these are not meant for
// the processes of a benchmark.
func Environment() (env []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TIDINGS_") {
			env = append(env, variable)
		}
	}
	return env
}

// Usage returns the resources that the process has used since it began.
func (p *Process) Usage() (bench.Usage, error) { return bench.ProcessUsage(p.cmd.Process.Pid) }

// Kill kills the process as in a crash, and returns when it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails if the process has already ended
	<-p.ended
}

// Stop closes the stdin of the process and waits until the process has ended. If that takes more than 60 s, it kills
// the process and returns an error.
func (p *Process) Stop() error {
	p.stdin.Close()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("process %d did not end in %v and was killed", p.cmd.Process.Pid, stopTimeout)
	}
}

// Run runs a program and returns what it has written to stdout. The program's stderr is stderr, so that its progress
// can be seen on a terminal. If ctx is done, Run interrupts the program, waits until it has ended, and returns the
// cause of ctx.
func Run(ctx context.Context, stderr io.Writer, program string, args ...string) (stdout []byte, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr, cmd.Env, cmd.SysProcAttr = stderr, Environment(), ownProcessGroup()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTimeout
	stdout, err = cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("`%s %s`: %w", program, strings.Join(args, " "), err)
	}
	return stdout, nil
}

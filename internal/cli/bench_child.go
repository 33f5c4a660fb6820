package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

// The other process of a benchmark is this program again, as `tidings bench serve` (the broker alone: `tidings serve`
// keeps the story's index besides, which would be measured, too) or `tidings bench stub`. It tells its addresses in one
// line of JSON on stdout, and ends well when its stdin does: so it cannot outlive who started it.

const (
	childStart = 30 * time.Second // that it may take to tell its addresses; recovery is in it
	childStop  = 60 * time.Second // that it may take to end well; a last checkpoint is in it
)

type brokerChild struct {
	Address string `json:"address"`
}

// childFlags hand over the parts of a broker's configuration that benchmarks choose.
func childFlags(f *pflag.FlagSet, c *broker.Config) {
	f.Int64Var(&c.CheckpointBytes, "checkpoint-bytes", 0, "of journal between checkpoints; 0: the broker's own choice")
	f.DurationVar(&c.RetentionInterval, "retention-interval", 0, "between looks at what retention lets go; 0: the broker's own choice")
}

func childArguments(c broker.Config) []string {
	return []string{"--checkpoint-bytes", fmt.Sprint(c.CheckpointBytes), "--retention-interval", c.RetentionInterval.String()}
}

func (s *session) benchServeCommand() *cobra.Command {
	var config broker.Config
	var address string
	c := &cobra.Command{
		Use: "serve", Short: "Be the broker that a benchmark measures", Hidden: true, Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := listen(address, false)
			if err != nil {
				return err
			}
			config.Dir, config.Logger = s.dataDir(), s.logger()
			b, err := openBroker(config)
			if err != nil {
				l.Close()
				return err
			}
			go new(heap).keepTidy(cmd.Context())
			served := make(chan error, 1)
			go func() { served <- b.Serve(l) }()
			err = s.tellAndWait(cmd.Context(), brokerChild{l.Addr().String()}, served)
			return errors.Join(err, b.Close())
		},
	}
	childFlags(c.Flags(), &config)
	c.Flags().StringVar(&address, "listen", "127.0.0.1:0", "where to listen; port 0 takes a free one")
	return c
}

func (s *session) benchStubCommand() *cobra.Command {
	var c bench.StubConfig
	cmd := &cobra.Command{
		Use: "stub", Short: "Be the null server and the raw limits of a benchmark", Hidden: true, Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			stub, err := bench.ListenStub(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			served := make(chan error, 1)
			go func() { served <- stub.Serve(ctx) }()
			err = s.tellAndWait(ctx, stub, served)
			cancel()
			return err
		},
	}
	cmd.Flags().Int64Var(&c.KeepBytes, "keep-bytes", 0, "of what is produced, to answer fetches with")
	cmd.Flags().StringVar(&c.File, "file", "", "to send by sendfile")
	return cmd
}

// tellAndWait tells where the child listens and waits until its parent, or its context, ends, or serving fails.
func (s *session) tellAndWait(ctx context.Context, addresses any, served <-chan error) error {
	if err := json.NewEncoder(s.stdout).Encode(addresses); err != nil {
		return err
	}
	alone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, s.stdin) // whatever its end is, it is the end
		close(alone)
	}()
	select {
	case <-alone:
		return nil
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	}
}

// child is such a process, seen from its parent.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
}

// startChild starts this program with arguments and reads what it tells into addresses.
func startChild(stderr io.Writer, addresses any, args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is the parent's to handle
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TIDINGS_") { // flags of the parent's command line
			cmd.Env = append(cmd.Env, variable)
		}
	}
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
	c := &child{cmd: cmd, stdin: stdin, ended: make(chan error, 1)}
	told := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, addresses)
		}
		told <- err
		c.ended <- cmd.Wait()
	}()
	select {
	case err = <-told:
	case <-time.After(childStart):
		err = fmt.Errorf("it does not answer in %v", childStart)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended already
		<-c.ended
		return nil, fmt.Errorf("start `%s`: %w", strings.Join(args[:2], " "), err)
	}
	return c, nil
}

func (c *child) usage() (bench.Usage, error) { return bench.ProcessUsage(c.cmd.Process.Pid) }

// kill ends it as a crash would, and returns when it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.ended
}

// stop lets it end well, and kills it if it does not.
func (c *child) stop() error {
	c.stdin.Close()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(childStop):
		c.kill()
		return fmt.Errorf("process %d did not end in %v and was killed", c.cmd.Process.Pid, childStop)
	}
}

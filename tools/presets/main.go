// Command presets runs the benchmarks whose figures are listed in docs/performance.md, and compares the figures with
// their goals:
//
//	go run ./tools/presets durable-1k [--check] [-o json] [--tidings PATH]
//
// The broker is the program tidings at PATH. It may be of another release, so that two releases can be compared.
// Without --tidings, the program is built from this module. Some presets are a command of `tidings bench` with
// certain flags: the program at PATH then both produces the load and runs the broker, and flags after -- are added to
// those of the preset and take precedence. The other presets have flags of their own. They produce the load in this
// process, and start, measure and stop the broker in another process.
//
// The exit code is 0 if everything was measured, 1 after a failure, 2 for an invalid command line, 6 if --check is
// given and a goal was missed, and 130 after an interrupt. (`go run` prints this code and itself exits with 1.)
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitMissed      = 6
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(code)
}

// run runs one command line and returns its exit code. args does not include the name of the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(&options{stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	fmt.Fprintln(stderr, "presets:", err)
	if _, ok := errors.AsType[*missedError](err); ok {
		return exitMissed
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// usageError is the error of an invalid command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// rootCommand returns the command presets, with a subcommand for each preset. The shared flags are stored in o.
func rootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use: "presets", Short: "Run the benchmarks of docs/performance.md and judge them by their goals",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no preset %q: `presets --help` lists them", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	o.addFlags(root.PersistentFlags())
	for _, p := range productPresets {
		root.AddCommand(p.commandOf(o))
	}
	root.AddCommand(checkpointCommand(o), halfMaximumCommand(o), idleCommand(o), readyCommand(o), replayJournalCommand(o))
	return root
}

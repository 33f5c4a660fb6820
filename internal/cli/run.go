// Package cli holds the commands of the program tidings. Each is a function of its arguments and streams, so that tests
// run it as a user would.
//
// The habits, the same for all: data goes to stdout and all else to stderr; tables on a terminal, tab-separated
// otherwise; -o table|json|jsonl|yaml; a flag counts before its variable in the environment (TIDINGS_ and the flag's
// name); what destroys prints its plan and needs --yes. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 auth,
// 5 unreachable, 6 threshold breached, 130 interrupted.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Run runs one command line (without the program's name) and returns its exit code. It blocks until the command has
// ended. Cancel ctx with ErrInterrupted or ErrTerminated as cause to stop a command; it then drains first.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := &session{stdin: stdin, stdout: stdout, stderr: stderr}
	root := s.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	fault := asFault(err)
	s.report(fault)
	return fault.Exit
}

// A session is one command line on its way.
type session struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	// Flags of all commands.
	brokers string
	data    string
	format  format
	verbose bool
}

func (s *session) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidings",
		Short: "An event log, and the story of each event in it",
		Long: "Tidings lets components announce that something happened and lets anyone react.\n" +
			"Start with `tidings demo`; then ask `tidings story order/536365`.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				hint := "`tidings --help` lists the commands"
				if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
					hint = fmt.Sprintf("did you mean `tidings %s`?", like[0])
				}
				return usagef(hint, "there is no command %q", args[0])
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return s.fromEnvironment(cmd) },
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &Fault{Code: "usage", Message: err.Error(), Hint: fmt.Sprintf("`%s --help` lists the flags", cmd.CommandPath()), Exit: ExitUsage, Err: err}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&s.brokers, "brokers", "", "the log's addresses, HOST:PORT with commas between (default: a broker on --data, else "+defaultBroker+")")
	flags.StringVar(&s.data, "data", "", "data directory of a broker on this machine (default ./"+defaultDataDir+")")
	flags.VarP(&s.format, "output", "o", "output format (default: a table on a terminal, tab-separated otherwise)")
	flags.BoolVarP(&s.verbose, "verbose", "v", false, "log to stderr what goes on inside")
	root.AddCommand(
		s.demoCommand(), s.serveCommand(), s.storyCommand(), s.emitCommand(), s.tailCommand(),
		s.topicCommand(), s.groupCommand(), s.benchCommand(),
		s.backupCommand(), s.restoreCommand(), s.doctorCommand(), s.repairCommand(), s.versionCommand(),
	)
	return root
}

// Addresses follow a rule of their own (findTarget), and consent is never taken from the environment.
var notFromEnvironment = map[string]bool{"brokers": true, "data": true, "yes": true, "help": true}

// fromEnvironment sets each flag that was not given from its TIDINGS_ variable.
func (s *session) fromEnvironment(cmd *cobra.Command) (err error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || notFromEnvironment[f.Name] {
			return
		}
		name := "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if setErr := cmd.Flags().Set(f.Name, value); setErr != nil {
			err = usagef(fmt.Sprintf("mend the variable, or give --%s", f.Name), "%s=%q: %v", name, value, setErr)
		}
	})
	return err
}

// report writes a fault to stderr: as JSON under a machine format, else in one line and a hint.
func (s *session) report(f *Fault) {
	if s.format.machine() {
		line, _ := json.Marshal(f) // strings always encode
		fmt.Fprintf(s.stderr, "%s\n", line)
		return
	}
	if errors.Is(f.Err, ErrInterrupted) && f.Message == ErrInterrupted.Error() {
		return // whoever pressed ctrl-C knows
	}
	fmt.Fprintf(s.stderr, "tidings: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(s.stderr, "  %s\n", f.Hint)
	}
}

// note writes one line for the person who watches, never for a program.
func (s *session) note(format string, args ...any) {
	fmt.Fprintf(s.stderr, format+"\n", args...)
}

func (s *session) output() *output { return newOutput(s.stdout, s.format) }

// logger goes to stderr: everything under --verbose, else what needs a person.
func (s *session) logger() *slog.Logger {
	level := slog.LevelWarn
	if s.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: level}))
}

func (s *session) target(ctx context.Context) (target, error) {
	return findTarget(ctx, s.brokers, s.data)
}

// dataDir is where a broker of this process keeps its data.
func (s *session) dataDir() string {
	switch {
	case s.data != "":
		return s.data
	case os.Getenv("TIDINGS_DATA") != "":
		return os.Getenv("TIDINGS_DATA")
	}
	return defaultDataDir
}

// arguments checks how many arguments a command has; most < 0 means any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		if len(args) < least {
			return usagef(hint, "%s needs %s", cmd.CommandPath(), plural(least, "argument"))
		}
		if most >= 0 && len(args) > most {
			return usagef(hint, "%s does not take %q", cmd.CommandPath(), args[most])
		}
		return nil
	}
}

// family makes a command that only holds others.
func family(use, short string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef(fmt.Sprintf("`%s --help` lists them", cmd.CommandPath()), "%s has no command %q", cmd.CommandPath(), args[0])
		}
		return cmd.Help()
	}
	c.AddCommand(members...)
	return c
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Package shell has what the commands of the program tidings share: the session of a command line, the log that it
// names, its output, its errors and their exit codes.
//
// All commands follow these rules. Data goes to stdout and everything else to stderr. The output is a table on a
// terminal and tab-separated otherwise, unless -o sets another format. A flag takes precedence over its environment
// variable, whose name is TIDINGS_ and the name of the flag. A flag that the command does not use is refused, and so
// is an empty value. A command that destroys data prints its plan, and carries it out only with --yes.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Run runs one command line with the given commands and returns its exit code. args does not include the name of the
// program. Run blocks until the command has ended. Cancelling ctx with the cause ErrInterrupted or ErrTerminated
// stops the command, which first finishes the work under way.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, commands func(*Session) []*cobra.Command) int {
	s := &Session{Stdin: stdin, Stdout: stdout, Stderr: stderr}
	root := newRoot(s)
	root.AddCommand(commands(s)...)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !AsFault(err).explainsInterrupt() {
		err = context.Cause(ctx)
	}
	s.Report(err)
	return AsFault(err).Exit
}

func newRoot(s *Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "tidings",
		Short: "An event log, and the story of each event in it",
		Long: "Tidings lets components announce that something happened and lets anyone react.\n" +
			"Start with `tidings demo`; then ask `tidings story order/536365`.\n\n" +
			"Data goes to stdout, everything else to stderr. A flag may also be set by its environment variable, which is TIDINGS_\n" +
			"and its name, such as TIDINGS_DATA; but not --yes, --data of restore, --brokers of demo, and neither of them of bench.\n" +
			"Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 unreachable, 6 doctor has found something,\n" +
			"130 interrupted.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "`tidings --help` lists the commands"
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				hint = fmt.Sprintf("did you mean `tidings %s`?", like[0])
			}
			return Usagef(hint, "there is no command %q", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseUnused(cmd); err != nil {
				return err
			}
			if err := refuseEmpty(cmd); err != nil {
				return err
			}
			return setFromEnvironment(cmd)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &Fault{Code: "usage", Message: err.Error(), Hint: fmt.Sprintf("`%s --help` lists the flags", cmd.CommandPath()), Exit: ExitUsage, Err: err}
	})
	root.SetHelpCommand(helpCommand())
	s.addFlags(root)
	return root
}

// helpCommand returns the command `tidings help`. It replaces the one of package cobra, which accepts any flag and
// any word.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Print the help of a command",
		Long:    "Prints the help of a command, as --help does. Exit code 2: there is no such command.",
		Example: "  tidings help\n  tidings help topic ls",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return Usagef("`tidings --help` lists the commands", "there is no command %q", strings.Join(args, " "))
			}
			return found.Help()
		},
	}
}

// Family returns a command that groups other commands. Without one of its members it prints its help.
func Family(use, short string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return Usagef(fmt.Sprintf("`%s --help` lists them", cmd.CommandPath()), "%s has no command %q", cmd.CommandPath(), args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(members...)
	return c
}

// Arguments returns a check of the number of arguments of a command, which must be in [least, most]. A negative most means
// no upper limit.
func Arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		if len(args) < least {
			return Usagef(hint, "%s needs %s", cmd.CommandPath(), Plural(least, "argument"))
		}
		if most >= 0 && len(args) > most {
			return Usagef(hint, "%s does not take %q", cmd.CommandPath(), args[most])
		}
		return nil
	}
}

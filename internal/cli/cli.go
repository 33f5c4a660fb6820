// Package cli assembles the program tidings from its commands. The whole program is the function Run, so that tests
// can run it as a user does.
package cli

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/bench"
	"tidings.dev/internal/cli/client"
	"tidings.dev/internal/cli/demo"
	"tidings.dev/internal/cli/files"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
)

// Run runs one command line and returns its exit code, as shell.Run does. args does not include the name of the
// program.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return shell.Run(ctx, args, stdin, stdout, stderr, commands)
}

func commands(s *shell.Session) []*cobra.Command {
	return slices.Concat(
		[]*cobra.Command{demo.Command(s), serve.Command(s)},
		client.Commands(s),
		files.Commands(s),
		[]*cobra.Command{bench.Command(s), versionCommand(s)},
	)
}

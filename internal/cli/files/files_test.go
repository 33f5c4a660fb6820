package files

import (
	"testing"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/client"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// program has the commands of this package, and those that fill and read a log.
func program(t testing.TB) clitest.Program {
	return clitest.New(t, func(s *shell.Session) []*cobra.Command { return append(Commands(s), client.Commands(s)...) })
}

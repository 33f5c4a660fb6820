// Package files has the commands that work on directories of this machine: backup, restore, doctor and repair.
package files

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
)

// Commands returns the commands of this package.
func Commands(s *shell.Session) []*cobra.Command {
	return []*cobra.Command{backupCommand(s), restoreCommand(s), doctorCommand(s), repairCommand(s)}
}

// directoryOf returns the data directory that a command works on: its argument, or Session.DataDir if there is none.
// It returns a fault if both an argument and --data are given, or if the directory does not exist.
func directoryOf(cmd *cobra.Command, s *shell.Session, args []string) (string, error) {
	dir := s.DataDir()
	if len(args) > 0 {
		if err := shell.RefuseWith(cmd, "with DIR", shell.FlagData); err != nil {
			return "", err
		}
		dir = args[0]
	}
	return dir, shell.CheckDirectory(dir)
}

// directoryFault returns the fault for an error from opening or writing a data directory.
func directoryFault(dir string, err error) error {
	if foreign, ok := errors.AsType[*broker.ForeignError](err); ok {
		return &shell.Fault{Code: "data_foreign", Message: fmt.Sprintf("%s: %v", dir, foreign), Exit: shell.ExitFailed, Err: err,
			Hint: "name the directory that `tidings serve` was started with"}
	}
	if format, ok := errors.AsType[*broker.FormatError](err); ok {
		return &shell.Fault{Code: "data_format", Message: fmt.Sprintf("%s: %v", dir, format), Exit: shell.ExitFailed, Err: err,
			Hint: "use the version that made it; nothing was changed"}
	}
	fault := *shell.AsFault(err)
	switch fault.Code {
	case "failed":
		fault.Code, fault.Hint = "data", fmt.Sprintf("`tidings doctor %s` finds what is wrong with it", dir)
	case "not_found":
		fault.Message, fault.Hint = fmt.Sprintf("%s is no data directory: %v", dir, err), "name the directory that `tidings serve` was started with"
	}
	return &fault
}

// progress returns a function that shows on stderr how many bytes of a task are done. It returns nil if stderr is not
// a terminal or the output format is one for programs.
func progress(s *shell.Session, what string) func(done, total int64) {
	if s.Format.Machine() || !shell.IsTerminal(s.Stderr) {
		return nil
	}
	var shown time.Time
	return func(done, total int64) {
		if time.Since(shown) < 100*time.Millisecond && done < total {
			return
		}
		shown = time.Now()
		end := ""
		if done >= total {
			end = "\n"
		}
		fmt.Fprintf(s.Stderr, "\r%s: %s of %s%s", what, shell.Bytes(done), shell.Bytes(total), end)
	}
}

package shell

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Case: a command that takes --data only, and its family, which takes nothing.
func TestFlagsThatAreNotUsedAreRefused(t *testing.T) {
	var stdout, stderr bytes.Buffer
	run := func(args ...string) int {
		stdout.Reset()
		stderr.Reset()
		return Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(s *Session) []*cobra.Command {
			c := &cobra.Command{Use: "look", Args: Arguments(0, 0), RunE: func(*cobra.Command, []string) error {
				_, err := io.WriteString(s.Stdout, s.DataDir())
				return err
			}}
			return []*cobra.Command{Family("files", "", Takes(c, FlagData))}
		})
	}
	if code := run("files", "look", "--data", "there", "-o", "json"); code != ExitOK || stdout.String() != "there" {
		t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
	}
	for _, args := range [][]string{
		{"files", "look", "--brokers", "there:1"},
		{"--brokers", "there:1", "files", "look"},
		{"files", "look", "--data", "there", "--brokers", "there:1"},
		{"files", "--brokers", "there:1"},
		{"--brokers", "there:1"},
		{"files", "look", "--verbose"},
		{"-v", "files"},
	} {
		if code := run(args...); code != ExitUsage || !strings.Contains(stderr.String(), "does not use --") {
			t.Errorf("%v: exit %d: %s%s", args, code, &stdout, &stderr)
		}
	}
	// Case: a variable is a setting for all commands.
	t.Setenv("TIDINGS_VERBOSE", "true")
	t.Setenv("TIDINGS_BROKERS", "there:1")
	if code := run("files", "look"); code != ExitOK {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	// Case: help lists what is used.
	if code := run("files", "look", "--help"); code != ExitOK || !strings.Contains(stdout.String(), "--data") || strings.Contains(stdout.String(), "--brokers") {
		t.Errorf("exit %d: %s", code, &stdout)
	}
}

package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// After ctrl-C a command says nothing of the errors that follow from it, but all that its own fault says of what is left undone.
func TestWhatIsSaidAfterAnInterrupt(t *testing.T) {
	line7 := func(err error) error {
		f := *AsFault(err)
		f.Message, f.Hint = "line 7: "+f.Message, "go on with it"
		return &f
	}
	hinted := func(err error) error {
		f := *AsFault(err)
		f.Hint = "go on with it"
		return &f
	}
	for name, c := range map[string]struct {
		cause, err error
		want       string
	}{
		"ctrl-C":                        {ErrInterrupted, ErrInterrupted, ""},
		"ctrl-C, cancelled":             {ErrInterrupted, fmt.Errorf("fetch: %w", context.Canceled), ""},
		"ctrl-C, a fault of that":       {ErrInterrupted, AsFault(context.Canceled), ""},
		"ctrl-C, unreachable":           {ErrInterrupted, unreachable("localhost:1", context.Canceled), ""},
		"ctrl-C, line 7":                {ErrInterrupted, line7(ErrInterrupted), "tidings: line 7: interrupted\n  go on with it\n"},
		"ctrl-C, line 7, cancelled":     {ErrInterrupted, line7(context.Canceled), "tidings: line 7: interrupted\n  go on with it\n"},
		"ctrl-C, with a hint":           {ErrInterrupted, hinted(ErrInterrupted), "tidings: interrupted\n  go on with it\n"},
		"ctrl-C, with a hint, wrapped":  {ErrInterrupted, fmt.Errorf("emit: %w", hinted(context.Canceled)), "tidings: interrupted\n  go on with it\n"},
		"a supervisor":                  {ErrTerminated, fmt.Errorf("fetch: %w", context.Canceled), "tidings: asked to end\n"},
		"a supervisor, line 7":          {ErrTerminated, line7(ErrTerminated), "tidings: line 7: asked to end\n  go on with it\n"},
		"another error than the signal": {ErrInterrupted, errors.New("disk on fire"), "tidings: disk on fire\n"},
	} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		var stderr bytes.Buffer
		code := Run(ctx, []string{"do"}, strings.NewReader(""), &stderr, &stderr, func(*Session) []*cobra.Command {
			return []*cobra.Command{{Use: "do", RunE: func(*cobra.Command, []string) error { interrupt(c.cause); return c.err }}}
		})
		want := ExitInterrupted
		if name == "another error than the signal" {
			want = ExitFailed
		}
		if stderr.String() != c.want || code != want {
			t.Errorf("%s: exit code %d, %q, want %q", name, code, stderr.String(), c.want)
		}
	}
}

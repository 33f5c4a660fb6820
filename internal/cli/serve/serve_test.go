package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

func program(t testing.TB) clitest.Program {
	return clitest.New(t, func(s *shell.Session) []*cobra.Command { return []*cobra.Command{Command(s)} })
}

// Case: a broker is served, asked over TCP, and asked to end.
func TestServe(t *testing.T) {
	p := program(t)
	for cause, code := range map[error]int{shell.ErrTerminated: 0, shell.ErrInterrupted: 130} {
		dir, address := filepath.Join(t.TempDir(), "made", "here"), clitest.FreeAddress(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		running := program(t).On(dir).Start(ctx, "", "serve", "--listen", address, "-o", "jsonl")
		running.Await(t, `"pid"`)
		target, err := shell.ParseBrokers("address", address)
		if err != nil {
			t.Fatal(err)
		}
		client, err := target.Log(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()

		// Case: a second one on the same data, and one on the same port.
		p.Want(p.Run("serve", "--data", dir, "--listen", "127.0.0.1:0"), 1, fmt.Sprint(os.Getpid()))
		p.Want(p.Run("serve", "--data", t.TempDir(), "--listen", address), 1, address+" is taken by process "+fmt.Sprint(os.Getpid()), ":0")

		cancel(cause)
		r := p.Want(running.Wait(), code)
		var got ready
		if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil || got.Address != address || got.Data != dir {
			t.Errorf("%s: %v", r.Stdout, err)
		}
	}
}

package testbed

import (
	"context"
	"encoding/json"
	"io"
)

// Announce is called by a program that was started by Start, once clients can reach its server. It writes the
// addresses to stdout as JSON. It then blocks until the parent closes stdin or ctx is done, and returns nil. If the server
// ends by itself before that, so that served has an error, Announce returns that error.
func Announce(ctx context.Context, stdin io.Reader, stdout io.Writer, addresses any, served <-chan error) error {
	if err := json.NewEncoder(stdout).Encode(addresses); err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // an error is treated like the end of stdin
		close(closed)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	case err := <-served:
		return err
	}
	select {
	case err := <-served: // it came first, and was not noticed
		return err
	default:
		return nil
	}
}

// Command tidings runs a broker, and has commands to use and examine logs. See package internal/cli, or `tidings
// --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tidings.dev/internal/cli"
	"tidings.dev/internal/cli/shell"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cause := shell.ErrInterrupted
		if <-signals == syscall.SIGTERM {
			cause = shell.ErrTerminated
		}
		signal.Stop(signals) // a second signal ends the process at once
		cancel(cause)
	}()
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

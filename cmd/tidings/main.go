// Command tidings runs the broker and asks it: see package internal/cli, or `tidings --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tidings.dev/internal/cli"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cause := cli.ErrInterrupted
		if <-signals == syscall.SIGTERM {
			cause = cli.ErrTerminated
		}
		signal.Stop(signals) // a second one ends the process at once
		cancel(cause)
	}()
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

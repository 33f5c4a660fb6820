package tidings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main runs the app as a whole program and returns when it has ended. Most main functions need nothing else; it takes
// the place of [App.Run] and [App.Close]:
//
//	if err := app.Main(context.Background(), nil); err != nil {
//		log.Fatal(err)
//	}
//
// Main runs the reactions of the app. Once they are ready (see [App.Ready]), it calls work with a context in which
// facts can be emitted. An HTTP server belongs in work, for example, or the one task that the program has. If work is
// nil, Main runs until it is asked to end.
//
// Main ends when ctx is done, when work returns, when a reaction cannot go on, or when the process receives SIGINT
// (ctrl-C) or SIGTERM. It first cancels the context of work and waits for work to return; then the app drains, as Run
// does, and is closed. A second signal ends the app at once, as [App.Abort] does. A third signal has its usual effect:
// it ends the process, even if work has not returned.
//
// The error is that of work joined with that of [App.Run]. It matches [ErrUnreachable] if the log cannot be reached at
// the start, so that a program with a wrong address ends with a message instead of waiting for ever. After a signal,
// or the end of ctx, the error is nil unless something failed: Main ignores an error of work that is the error of its
// cancelled context.
//
// Like Run, Main may be called once. It handles the two signals only while it runs.
func (a *App) Main(ctx context.Context, work func(context.Context) error) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer a.endOnSignals(end)()

	ran := make(chan error, 1)
	// running is the context of Run. It ends only after work has returned, because work may emit until then.
	running, drain := context.WithCancel(context.WithoutCancel(ctx))
	defer drain()
	go func() {
		ran <- a.Run(running)
		end()
	}()

	returned := false
	defer func() {
		if !returned { // work has panicked or ended its goroutine
			drain()
			<-ran
			a.Close()
		}
	}()
	err := a.workWhenReady(ctx, work)
	returned = true
	drain()
	return errors.Join(err, <-ran, a.Close())
}

// workWhenReady waits until the reactions are ready, calls work and returns its error. If work is nil, it returns nil
// when ctx is done. If ctx is done, it returns nil in place of ctx's error.
func (a *App) workWhenReady(ctx context.Context, work func(context.Context) error) error {
	select {
	case <-a.ready:
	case <-ctx.Done():
		return nil
	}
	if work == nil {
		<-ctx.Done()
		return nil
	}
	err := work(a.Context(ctx))
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// endOnSignals calls end when the process receives its first SIGINT or SIGTERM, and aborts the app at the second. The
// signals have their former effect after the second one, or once stop is called.
func (a *App) endOnSignals(end func()) (stop func()) {
	signals := make(chan os.Signal, 2)
	stopped := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			a.log.Info("stopping: what runs is finished first; a second signal ends it at once", "signal", s)
			end()
		case <-stopped:
			return
		}
		select {
		case s := <-signals:
			signal.Stop(signals) // a third signal has its usual effect
			a.log.Warn("stopping at once: events that were being handled will be handled again", "signal", s)
			if err := a.Abort(); err != nil {
				a.log.Error("the app was not closed in order", "error", fmt.Errorf("abort: %w", err))
			}
		case <-stopped:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(stopped)
	}
}

// Package service runs a service of the shop as a program. All services use it; it imports none of them.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tidings.dev"
)

// Exit codes. They are those of the program tidings.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 5
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// Program is a service of the shop that runs as a program on the log at --brokers. New returns one. The caller may add
// flags of its own to Flags before it calls React or Emit. A flag that is not given on the command line is taken from
// an environment variable if that is set: TIDINGS_BROKERS for --brokers.
type Program struct {
	Flags   *flag.FlagSet
	name    string
	brokers *string
}

// New returns the program of the service called name. about is shown after the name in the help text.
func New(name, about string) *Program {
	p := &Program{Flags: flag.NewFlagSet(name, flag.ContinueOnError), name: name}
	p.brokers = p.Flags.String("brokers", "localhost:9092", "the log's addresses, HOST:PORT with commas between")
	p.Flags.Usage = func() {
		fmt.Fprintf(p.Flags.Output(), "%s %s\n\n", name, about)
		p.Flags.PrintDefaults()
	}
	return p
}

// React runs a service that reacts to facts. It calls register with the app and runs the app until the process
// receives SIGINT or SIGTERM. Then the app drains: running handlers finish, and their events are marked as handled. A
// second signal ends the process at once. React does not return: it ends the process with one of the exit codes above,
// or with 0 after SIGTERM.
func (p *Program) React(register func(*tidings.App)) {
	p.main(func(ctx context.Context, app *tidings.App, _ tidings.Connection) error {
		register(app)
		go func() {
			select {
			case <-app.Ready():
				p.say("ready")
			case <-ctx.Done():
			}
		}()
		err := app.Run(ctx)
		if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = context.Cause(ctx)
		}
		return err
	})
}

// Emit runs a service that only emits facts. It calls work once, with a context that ends at SIGINT or SIGTERM, and
// ends the process as React does.
func (p *Program) Emit(work func(ctx context.Context, app *tidings.App, where tidings.Connection) error) {
	p.main(work)
}

func (p *Program) main(work func(context.Context, *tidings.App, tidings.Connection) error) {
	os.Exit(p.run(os.Args[1:], os.Stderr, work))
}

// run runs the program and returns its exit code.
func (p *Program) run(args []string, stderr io.Writer, work func(context.Context, *tidings.App, tidings.Connection) error) int {
	p.Flags.SetOutput(stderr)
	if err := p.parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(stderr, "%s: %v\n", p.name, err)
		return exitUsage
	}
	ctx, stop := signals()
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, nil)).With("service", p.name))

	where := tidings.Kafka(*p.brokers)
	app, err := tidings.Open(p.name, where)
	if err == nil {
		err = work(ctx, app, where)
		err = errors.Join(err, app.Close())
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errTerminated):
		p.say("stopped")
		return 0
	case errors.Is(err, errInterrupted):
		p.say("stopped")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "%s: %v\n", p.name, err)
	if errors.Is(err, tidings.ErrUnreachable) {
		return exitUnreachable
	}
	return exitFailed
}

// parse sets the flags from the arguments, and flags that are not given from the environment.
func (p *Program) parse(args []string) error {
	if err := p.Flags.Parse(args); err != nil {
		return err
	}
	if p.Flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", p.Flags.Arg(0))
	}
	given := map[string]bool{}
	p.Flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	p.Flags.VisitAll(func(f *flag.Flag) {
		name := "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := os.Getenv(name); value != "" && !given[f.Name] && err == nil {
			if setErr := f.Value.Set(value); setErr != nil {
				err = fmt.Errorf("%s=%q: %w", name, value, setErr)
			}
		}
	})
	return err
}

// say prints a line about the state of the program to stderr.
func (p *Program) say(what string) { fmt.Fprintf(p.Flags.Output(), "%s: %s\n", p.name, what) }

var errTerminated = errors.New("asked to end")

// signals returns a context that ends at the first SIGINT or SIGTERM, with errInterrupted or errTerminated as its
// cause. A second signal ends the process. The caller must call the returned function to release the signals.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	got := make(chan os.Signal, 1)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-got:
			signal.Stop(got)
			if s == os.Interrupt {
				cancel(errInterrupted)
			} else {
				cancel(errTerminated)
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(got); cancel(nil) }
}

// Package service runs a service of the shop as a program of its own. It is the same for all of them and knows none.
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

// Exit codes, as those of the program tidings.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 5
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// Program is a service that runs against the log at --brokers (or TIDINGS_BROKERS). Add its own flags to Flags; each may
// be given as a TIDINGS_ variable too.
type Program struct {
	Flags   *flag.FlagSet
	name    string
	brokers *string
}

// New makes the program of the service called name.
func New(name, about string) *Program {
	p := &Program{Flags: flag.NewFlagSet(name, flag.ContinueOnError), name: name}
	p.brokers = p.Flags.String("brokers", "localhost:9092", "the log's addresses, HOST:PORT with commas between")
	p.Flags.Usage = func() {
		fmt.Fprintf(p.Flags.Output(), "%s %s\n\n", name, about)
		p.Flags.PrintDefaults()
	}
	return p
}

// React runs a service that reacts, until the process is asked to end; it does not return. It drains: what is being
// handled is finished and recorded first. A second signal ends it at once.
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

// Emit runs a service that only emits: work, once. It does not return.
func (p *Program) Emit(work func(ctx context.Context, app *tidings.App, where tidings.Connection) error) {
	p.main(work)
}

func (p *Program) main(work func(context.Context, *tidings.App, tidings.Connection) error) {
	os.Exit(p.run(os.Args[1:], os.Stderr, work))
}

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

// parse reads the arguments, and the environment for what they leave open.
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

func (p *Program) say(what string) { fmt.Fprintf(p.Flags.Output(), "%s: %s\n", p.name, what) }

var errTerminated = errors.New("asked to end")

// signals returns a context that ends at the first SIGINT or SIGTERM, with the cause. The second one kills.
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

package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/quietlog"
	"tidings.dev/internal/reactor"
	"tidings.dev/internal/settled"
)

// App is one component: it emits facts under its name, and runs its reactions. [Open] makes an App; [App.Close]
// releases it, and so does [App.Main] when it returns. The methods of an App are safe for concurrent use.
type App struct {
	name string
	opts appOptions
	log  *slog.Logger

	link *Link
	// release makes the instance's name available to other apps of this process again (see instanceNames). It does
	// nothing if Open took no name.
	release func()
	// client appends the app's events and marks, and the questions that [Receipt.Settled] asks an indexer.
	client   *logclient.Client
	settled  *settled.Follower
	defs     definitions
	findings *findings

	// ready is closed when all reactions are ready: see Ready.
	ready      chan struct{}
	onTheirWay onTheirWay
	declared   sync.Map // has the *definition of each fact that declare was called for
	runs       handlerRuns
	// detached is the number that DetachedEmissions returns.
	detached atomic.Int64

	mu        sync.Mutex // protects the fields below
	reactions map[string]*reaction
	state     appState
	ended     chan struct{} // closed when Run has returned; nil before Run is called
	// stop cancels the context of Run; nil before Run is called
	stop context.CancelFunc
}

// appState is the stage that an App has reached: what it has been asked to do so far.
type appState int

const (
	appOpen    appState = iota // Run was not called
	appRunning                 // Run was called and has not returned
	appStopped                 // Run has returned
	appClosed                  // Close or Abort was called
)

// Open returns a new app on the log that where leads to. The name becomes the source of the app's events and the name
// of its reaction: 1 to 100 letters, digits, '.', '_' and '-', the first of which is a letter or a digit.
//
// Open does not connect to the log, so it succeeds while the log is away; [App.Run] and [Fact.Emit] connect. With a
// connection of package embedded, Open starts a broker in this process, which [App.Close] stops. Open returns an error
// if the name, where or an option is not valid, and the error of where if its Connect fails.
func Open(name string, where Connection, opts ...Option) (*App, error) {
	if !reactionName.MatchString(name) {
		return nil, fmt.Errorf("tidings: Open(%q): %w", name, errBadName)
	}
	if where == nil {
		return nil, fmt.Errorf("tidings: Open(%q): %w", name, errNoConnection)
	}
	a := &App{
		name:      name,
		release:   func() {},
		ready:     make(chan struct{}),
		reactions: make(map[string]*reaction),
		opts: appOptions{
			connectTimeout: 10 * time.Second,
			drainTimeout:   20 * time.Second,
			emitTimeout:    30 * time.Second,
			metadataMaxAge: 30 * time.Second,
		},
	}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("tidings: Open(%q): an option is nil", name)
		}
		o(&a.opts)
	}
	if a.opts.version.IsZero() {
		a.opts.version = obligation.BuiltVersion()
	}
	if a.opts.log == nil {
		a.opts.log = slog.Default()
	}
	a.log = slog.New(quietlog.New(a.opts.log.Handler())).With("app", name)
	if a.opts.instance != "" && !reactionName.MatchString(a.opts.instance) {
		return nil, fmt.Errorf("tidings: Instance(%q): %w", a.opts.instance, errBadName)
	}

	link, err := where.Connect(context.Background())
	if err != nil {
		return nil, fmt.Errorf("tidings: app %q: %w", name, err)
	}
	a.link = link
	if a.opts.instance == "" && link.Instance != "" {
		a.opts.instance, a.release = instances.take(link.Instance + "." + name)
	}
	a.client, err = logclient.New(logclient.Config{
		Addresses: link.Addresses, Dial: link.Dial, ClientID: name, ConnectTimeout: a.opts.connectTimeout, Logger: a.log,
	})
	if err != nil {
		a.release()
		return nil, errors.Join(fmt.Errorf("tidings: app %q: %w", name, err), link.close())
	}
	for _, t := range obligation.Topics() {
		a.client.Declare(t.Name, t.Partitions, t.Configs)
	}
	a.settled = settled.New(a.client, link.Indexed, a.log)
	a.defs = definitions{app: a, emitted: make(map[string]time.Time)}
	a.findings = newFindings(a)
	return a, nil
}

// Name returns the name given to Open.
func (a *App) Name() string { return a.name }

// Context returns a copy of ctx that is bound to the app: [Fact.Emit] with that context emits as this app.
func (a *App) Context(ctx context.Context) context.Context { return context.WithValue(ctx, appKey, a) }

// Ready returns a channel that is closed once all reactions of the app have joined their groups and have rebuilt their
// states: events that are emitted after that are seen by each of them. The channel is never closed if Run ends
// earlier, so wait for the end of Run as well, or use [App.Main].
func (a *App) Ready() <-chan struct{} { return a.ready }

// Run runs the reactions of the app until ctx is done. It then drains: no new event is begun, running handlers finish,
// the events that they emitted are made durable, positions are committed, and the app leaves its groups. After that
// Run returns nil.
//
// Run returns an error that matches [ErrUnreachable] if the log cannot be reached when Run begins. If a reaction cannot
// go on, Run lets the other reactions drain and returns the reason: a [*LostError], a [*BeyondError], or the error with
// which the log refused a request. While the log is away later on, Run waits for it. Run may be called once.
func (a *App) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a.mu.Lock()
	switch a.state {
	case appClosed:
		a.mu.Unlock()
		return fmt.Errorf("app %q: %w", a.name, ErrClosed)
	case appRunning, appStopped:
		a.mu.Unlock()
		return fmt.Errorf("tidings: app %q: Run was called before", a.name)
	}
	a.state, a.stop, a.ended = appRunning, stop, make(chan struct{})
	reactions := a.reactions
	a.mu.Unlock()

	err := a.run(ctx, reactions)

	a.mu.Lock()
	if a.state == appRunning {
		a.state = appStopped
	}
	close(a.ended)
	a.mu.Unlock()
	if err != nil {
		return fmt.Errorf("app %q: %w", a.name, err)
	}
	return nil
}

func (a *App) run(ctx context.Context, reactions map[string]*reaction) error {
	if err := a.client.Reach(ctx); err != nil {
		if ctx.Err() != nil && !errors.Is(err, ErrUnreachable) {
			return nil // ctx was done before Run had reached the log
		}
		return err
	}
	for _, r := range reactions {
		r.reactor.Store(reactor.New(a.client, r.spec()))
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	recording, stopRecording := context.WithCancel(a.client.Life())
	var recorder, all sync.WaitGroup
	recorder.Go(func() { a.findings.run(recording, reactions) })
	defer recorder.Wait() // after the last event was handled
	defer stopRecording()
	for _, r := range reactions {
		all.Go(func() {
			if err := r.runReactor(ctx); err != nil {
				fail(err)
			}
		})
	}
	all.Go(func() {
		for _, r := range reactions {
			select {
			case <-r.reactor.Load().Ready():
			case <-ctx.Done():
				return
			}
		}
		close(a.ready)
		a.defs.listens(reactions)
		a.defs.forget(reactions)
		<-ctx.Done()
	})
	all.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Abort ends the app at once, as if its process had been killed. The contexts of running handlers are cancelled, and
// Abort does not wait for the handlers to return. Emissions that wait for the log fail with [ErrClosed]. No mark and
// no position is written, and the app does not leave its groups. Run returns, and so does a Close that is waiting for
// Run to drain.
//
// Abort loses nothing: the next instance goes on from the last committed position, handles again the events that were
// handled after it, and emits the same ids again. But unless the instance keeps its name across restarts (see
// [Instance]), its partitions stay unassigned until its session ends, after 10 seconds.
//
// Use Abort when the program cannot wait, because the log is gone for good or the user has interrupted it a second
// time. [App.Close] is the orderly end.
func (a *App) Abort() error {
	a.client.Abort()
	return a.Close()
}

// Close ends Run if it is running and waits until Run has drained. It then waits until the log has answered for all
// events of [Fact.EmitAsync], for at most [DrainTimeout], and releases the connection. Emissions fail with [ErrClosed]
// from then on. Close may be called again; a second call returns nil at once, without waiting for the first.
func (a *App) Close() error {
	a.mu.Lock()
	if a.state == appClosed {
		a.mu.Unlock()
		return nil
	}
	a.state = appClosed
	stop, ended := a.stop, a.ended
	a.mu.Unlock()
	if ended != nil {
		stop()
		<-ended
	}
	a.onTheirWay.wait(a.client.Life(), a.opts.drainTimeout)
	a.client.Abort() // ends every Receipt.Settled that still waits
	a.settled.Close()
	a.defs.close()
	a.client.Close()
	a.release()
	return a.link.close()
}

// reaction returns the reaction that opts name, and adds it to the app if there is none of that name yet. It also
// returns the options as a struct. It panics if an option is nil, if the name is not valid, and if Run or Close has
// been called.
func (a *App) reaction(opts []ReactOption) (*reaction, reactOptions) {
	o := reactOptions{name: a.name, backoff: defaultBackoff, slow: defaultSlow, undecodable: retryUndecodable, window: -1}
	for _, opt := range opts {
		if opt == nil {
			panic(fmt.Sprintf("tidings: app %q: React: an option is nil", a.name))
		}
		opt(&o)
	}
	if !reactionName.MatchString(o.name) {
		panic(fmt.Sprintf("tidings: reaction %q: %v", o.name, errBadName))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != appOpen {
		panic(fmt.Sprintf("tidings: app %q: React after Run or Close", a.name))
	}
	r := a.reactions[o.name]
	if r == nil {
		r = newReaction(a, o.name)
		a.reactions[o.name] = r
	}
	r.configure(o)
	return r, o
}

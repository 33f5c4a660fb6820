package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// App is one service: it emits facts under its name, and runs its reactions. Made by Open; methods are safe for
// concurrent use.
type App struct {
	name string
	opts appOptions
	log  *slog.Logger

	link     *Link
	release  func()        // gives the instance's name back
	producer *kgo.Client   // emissions and marks of the whole app; only produce.go sends
	slots    chan struct{} // one taken for each record that is not durable yet
	topics   *topics
	settled  settledFollower
	outage   outage

	ready    chan struct{}
	closed   chan struct{}
	life     context.Context // ends with Abort: then nothing is waited for any more
	abort    context.CancelFunc
	running  atomic.Int32 // handlers now, to look for rootless emissions only then
	rootless atomic.Int64

	mu        sync.Mutex
	reactions map[string]*reaction
	state     appState
	ended     chan struct{} // closed when Run has returned; nil before Run
	stop      context.CancelFunc
}

type appState int

const (
	appOpen appState = iota
	appRunning
	appStopped
	appClosed
)

// Open makes an app. The name is what its events say they come from, and its reaction's name. Nothing is dialled yet;
// where may start a broker.
func Open(name string, where Connection, opts ...Option) (*App, error) {
	if !reactionName.MatchString(name) {
		return nil, fmt.Errorf("tidings: Open(%q): %w", name, errBadName)
	}
	a := &App{
		name:      name,
		release:   func() {},
		ready:     make(chan struct{}),
		closed:    make(chan struct{}),
		slots:     make(chan struct{}, maxBufferedRecords),
		reactions: make(map[string]*reaction),
		opts: appOptions{
			connectTimeout: 10 * time.Second,
			drainTimeout:   20 * time.Second,
			metadataMaxAge: 30 * time.Second,
		},
	}
	for _, o := range opts {
		o(&a.opts)
	}
	a.life, a.abort = context.WithCancel(context.Background())
	if a.opts.log == nil {
		a.opts.log = slog.Default()
	}
	a.log = a.opts.log.With("app", name)
	if a.opts.instance != "" && !reactionName.MatchString(a.opts.instance) {
		return nil, fmt.Errorf("tidings: Instance(%q): %w", a.opts.instance, errBadName)
	}

	link, err := where.Connect(context.Background())
	if err != nil {
		return nil, fmt.Errorf("tidings: app %q: %w", name, err)
	}
	a.link = link
	a.outage.log = a.log
	if a.opts.instance == "" && link.Instance != "" {
		a.opts.instance, a.release = instances.take(link.Instance + "." + name)
	}
	a.producer, err = kgo.NewClient(a.clientOptions(
		kgo.ProducerLinger(0), // a synchronous emit waits for nothing
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2 of the key, as all Kafka clients have it
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(2*maxBufferedRecords), // never reached: see App.send
	)...)
	if err != nil {
		a.release()
		return nil, errors.Join(fmt.Errorf("tidings: app %q: %w", name, err), link.close())
	}
	a.topics = newTopics(a)
	a.settled.app = a
	return a, nil
}

// metadataMinAge is how soon a client may ask again where topics are: a topic just made is to be usable at once.
const metadataMinAge = 100 * time.Millisecond

func (a *App) clientOptions(more ...kgo.Opt) []kgo.Opt {
	opts := append(a.link.Options(), kgo.ClientID(a.name), kgo.MetadataMinAge(metadataMinAge), kgo.WithHooks(&a.outage))
	return append(opts, more...)
}

// Name is the name given to Open.
func (a *App) Name() string { return a.name }

// Context binds ctx to the app, so that facts can be emitted with it.
func (a *App) Context(ctx context.Context) context.Context { return context.WithValue(ctx, appKey, a) }

// Ready is closed when Run has come so far that every event emitted from now on will be seen by all reactions of the
// app, and states are rebuilt.
func (a *App) Ready() <-chan struct{} { return a.ready }

// Run runs the reactions of the app and blocks. When ctx is done it drains: no new event is begun, running handlers
// finish, what they emitted is sent, positions are committed, the group is left; then it returns nil. It returns an
// error when the log cannot be reached at the start (ErrUnreachable), and when a reaction cannot go on: *LostError,
// *BeyondError, or what the log refused. A log that is away later is waited for. Run may be called once.
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
	if err := a.reach(ctx); err != nil {
		if ctx.Err() != nil && !errors.Is(err, ErrUnreachable) {
			return nil // stopped before it began
		}
		return err
	}
	consumers := make([]*consumer, 0, len(reactions))
	for _, r := range reactions {
		consumers = append(consumers, newConsumer(r))
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	for _, c := range consumers {
		all.Go(func() {
			if err := c.run(ctx); err != nil {
				fail(err)
			}
		})
	}
	all.Go(func() {
		for _, c := range consumers {
			select {
			case <-c.ready:
			case <-ctx.Done():
				return
			}
		}
		close(a.ready)
		<-ctx.Done()
	})
	all.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// reach waits until the log answers, at most for the connect timeout.
func (a *App) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.opts.connectTimeout)
	defer cancel()
	for {
		err := a.producer.Ping(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, kgo.ErrClientClosed) {
			return ErrClosed
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%w at %v within %v: %w", ErrUnreachable, a.link.Addresses, a.opts.connectTimeout, err)
		}
	}
}

// Abort ends the app at once, as the death of its process would: nothing is begun any more, and what is under way is
// given up. The contexts of running handlers are cancelled and they are not waited for; emissions that wait for the log
// fail with ErrClosed; no mark and no position is written, and no group is left. Run returns, and so does a Run or a
// Close that drains already. Nothing is lost by it: whoever comes next goes on from the last position, handles again what
// was handled since, and emits the same ids. But unless the instance has a lasting name (see Instance), its partitions
// are missed until its session ends, after 10 seconds.
//
// It is for those who cannot wait: the log is gone for good, or the second ctrl-C has come. Close is the stop in order.
func (a *App) Abort() error {
	a.abort()
	return a.Close()
}

// Close ends Run if it is running, waits for it to drain, and releases the connection. Emissions fail from then on.
// Closing twice is allowed; the second call does not wait for the first.
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
	close(a.closed)
	a.abort()
	a.settled.close()
	a.producer.Close()
	a.release()
	return a.link.close()
}

// reaction finds or makes the reaction that a call of React belongs to. It is for set-up: wrong use panics.
func (a *App) reaction(opts []ReactOption) (*reaction, reactOptions) {
	o := reactOptions{name: a.name, backoff: defaultBackoff, window: -1}
	for _, opt := range opts {
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

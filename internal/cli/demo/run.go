package demo

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/orders"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
	"tidings.dev/story"
)

// demo is one run of the demo.
type demo struct {
	*shell.Session
	config

	// The following fields are set by setUp.
	batch   *input.Batch
	dir     string         // data directory; "" if the demo uses --brokers
	broker  *broker.Broker // nil if the demo uses --brokers
	where   string         // address of the log, for people
	target  shell.Target
	log     *logclient.Client
	indexer *story.Indexer
	books   *books
	shop    *shop

	failed chan error     // receives errors of background goroutines
	fenced chan struct{}  // closed when the broker refuses writes
	closer []func() error // functions that undo the steps of setUp; they are called in reverse order
}

// closeTimeout is the maximum time that a demo waits for its own end after the broker has refused writes.
const closeTimeout = time.Second

// run sets the demo up, plays it, and takes it down in reverse order, so that nothing uses a part that is closed.
// When the broker refuses writes, work that is under way cannot finish. run then returns after at most closeTimeout,
// and goroutines that still block end with the process.
func (d *demo) run(ctx context.Context) error {
	d.failed = make(chan error, 8)
	d.fenced = make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		err := d.setUp(ctx)
		if err == nil {
			err = d.play(ctx)
		} else {
			err = d.preferWriteError(err)
		}
		for _, c := range slices.Backward(d.closer) {
			err = errors.Join(err, c())
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-d.fenced:
	}
	select {
	case <-ended:
	case <-time.After(closeTimeout):
	}
	return serve.StorageFault(serve.WriteError(d.broker))
}

// watchBroker closes d.fenced when the broker refuses writes.
func (d *demo) watchBroker(ctx context.Context) error {
	check := time.NewTicker(serve.WriteCheckInterval)
	defer check.Stop()
	for {
		select {
		case <-check.C:
			if serve.WriteError(d.broker) != nil {
				close(d.fenced)
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// preferWriteError returns the reason why the broker refuses writes, if it does, because err is then only a
// consequence. Otherwise it returns err.
func (d *demo) preferWriteError(err error) error {
	if d.broker != nil && serve.WriteError(d.broker) != nil {
		return serve.StorageFault(serve.WriteError(d.broker))
	}
	return err
}

// setUp makes everything that play needs. It appends to d.closer what has to be undone, also if it returns an error.
func (d *demo) setUp(ctx context.Context) (err error) {
	if d.batch, err = d.readOrders(); err != nil {
		return err
	}
	if err := d.openLog(ctx); err != nil {
		return err
	}
	if d.log, err = d.target.Log(ctx); err != nil {
		return err
	}
	d.closer = append(d.closer, func() error { d.log.Close(); return nil })
	if err := orders.MakeTopic(ctx, d.target); err != nil {
		return err
	}
	if err := d.openStory(ctx); err != nil {
		return err
	}
	if d.books, err = openBooks(ctx, d.log); err != nil {
		return err
	}
	d.inBackground(d.indexer.Run)
	d.inBackground(d.books.follow)
	if err := d.books.catchUp(ctx); err != nil {
		return err
	}
	if d.shop, err = startShop(ctx, d.target, int64(d.declineAbove), d.without, tidings.WithLogger(d.Logger())); err != nil {
		return err
	}
	d.closer = append(d.closer, d.shop.stop)
	d.banner()
	return nil
}

// openLog opens the demo's own broker, or finds the log at --brokers.
func (d *demo) openLog(ctx context.Context) (err error) {
	if d.Brokers != "" {
		d.where = d.Brokers
		d.target, err = d.Session.Target(ctx)
		return err
	}
	d.dir = d.DataDir()
	if d.broker, err = serve.Open(broker.Config{Dir: d.dir, Logger: d.Logger()}); err != nil {
		return err
	}
	d.closer = append(d.closer, d.broker.Close)
	d.inBackground(d.watchBroker)
	listener, note, err := serve.ListenNear(d.address, d.insecure)
	if err != nil {
		return err
	}
	go d.broker.Serve(listener) // returns when the broker is closed
	d.target = shell.InProcess(d.broker)
	d.where = listener.Addr().String()
	if note != "" {
		d.where += "   (" + note + ")"
	}
	return nil
}

// openStory opens the index: in the data directory, or with --brokers the index that `tidings story` uses.
func (d *demo) openStory(ctx context.Context) (err error) {
	options := story.Options{Emit: true, Logger: d.Logger()}
	discard := func() {}
	if d.broker != nil {
		d.indexer, err = story.Open(ctx, d.target, filepath.Join(d.dir, shell.IndexName), options)
	} else {
		d.indexer, discard, err = d.OpenIndex(ctx, d.target, options)
	}
	if err != nil {
		return err
	}
	d.closer = append(d.closer, func() error {
		defer discard()
		return d.indexer.Close()
	})
	return nil
}

// inBackground runs work in a goroutine until the demo is taken down. If work fails before that, its error is sent to
// d.failed.
func (d *demo) inBackground(work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			d.failed <- err
		}
	})
	d.closer = append(d.closer, func() error {
		cancel()
		running.Wait()
		return nil
	})
}

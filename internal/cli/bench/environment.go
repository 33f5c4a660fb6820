package bench

import (
	"context"
	"errors"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// environment is what a benchmark runs on: a broker, and with --ceiling the limits that the broker is compared with.
type environment struct {
	target    bench.Target
	directory *testbed.Directory
	broker    measuredBroker
	ceilings  *ceilings      // nil without --ceiling
	filled    []string       // names of topics to delete at the end
	closing   []func() error // called at the end, while the broker still runs
}

// openEnvironment starts the broker and, with --ceiling, the servers that it is compared with. After success the
// caller must close the environment; after an error it is closed already.
func openEnvironment(c *common) (_ *environment, err error) {
	e := &environment{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close(context.Background()))
		}
	}()
	data := c.session.Data
	if c.session.Brokers != "" {
		data = ""
	}
	if e.directory, err = testbed.OpenDirectory(data); err != nil {
		return e, err
	}
	if e.directory.InMemory() {
		c.session.Note("%s is in memory (tmpfs): syncs cost nothing there; name a directory on a disk with --data", e.directory.Scratch)
	}
	if e.broker, err = newBroker(c, e.directory.Data); err != nil {
		return e, err
	}
	if err := e.broker.Start(); err != nil {
		return e, err
	}
	switch {
	case c.session.Brokers != "":
		e.target = bench.Target{Kind: "brokers", Address: c.session.Brokers}
	case c.inProcess:
		e.target = e.directory.Target("in-process")
	default:
		e.target = e.directory.Target("process")
	}
	if c.ceiling {
		e.ceilings, err = openCeilings(c, e.directory.Scratch)
	}
	return e, err
}

// restartCold stops the broker, drops its files from the page cache and starts the broker again.
func (e *environment) restartCold() error {
	if err := e.broker.Stop(); err != nil {
		return err
	}
	if err := testbed.DropFromCache(e.directory.Data); err != nil {
		return err
	}
	return e.broker.Start()
}

// close deletes the topics that the benchmark has filled, stops the processes and removes the temporary directories.
func (e *environment) close(ctx context.Context) error {
	var errs []error
	for _, end := range e.closing {
		errs = append(errs, end())
	}
	if e.broker != nil {
		for _, topic := range e.filled {
			if e.broker.Running() {
				errs = append(errs, e.broker.Endpoint().DeleteTopic(ctx, topic))
			}
		}
		errs = append(errs, e.broker.Stop())
	}
	if e.ceilings != nil {
		errs = append(errs, e.ceilings.close())
	}
	if e.directory != nil {
		errs = append(errs, e.directory.Close())
	}
	return errors.Join(errs...)
}

// measuredBroker is the broker under test. Its methods are specified by testbed.Broker.
type measuredBroker interface {
	Start() error
	Stop() error
	Running() bool
	Endpoint() bench.Endpoint
}

// newBroker returns the broker that the flags select: at --brokers, in this process, or in another process. It is not
// started. data is its data directory, which is not used with --brokers.
func newBroker(c *common, data string) (measuredBroker, error) {
	switch {
	case c.session.Brokers != "":
		t, err := shell.ParseBrokers("--brokers", c.session.Brokers)
		return remoteBroker{bench.Endpoint{Seeds: t.Brokers}}, err
	case c.inProcess:
		return &inProcessBroker{config: broker.Config{Dir: data, Logger: c.session.Logger()}}, nil
	}
	program, err := thisProgram()
	return &testbed.Broker{Program: program, Data: data, Stderr: c.session.Stderr}, err
}

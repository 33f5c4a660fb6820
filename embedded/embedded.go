package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"tidings.dev"
	"tidings.dev/broker"
)

// File returns a connection to a broker in this process that keeps its log in the directory dir, which it creates if
// it does not exist. Each change function may change the broker's configuration before the first app is opened. An
// indexer runs beside the broker; see [WithoutStory].
//
// File itself opens nothing. Opening an app on the connection returns the errors of [broker.Open], among them a
// *[broker.LockedError] if another broker is using the directory. It also returns an error if dir is empty or a change
// function is nil.
func File(dir string, change ...func(*broker.Config)) tidings.Connection {
	if dir == "" {
		return refused{errors.New("embedded: File needs a directory, and got an empty path: name one, or use embedded.Memory for a log in memory")}
	}
	return newShared("File", broker.Config{Dir: dir}, change)
}

// Memory returns a connection to a broker in this process that keeps its log in memory, for tests. Each call of Memory
// returns a connection to a log of its own, which is gone when the last app on the connection is closed. An indexer
// runs beside the broker; see [WithoutStory]. Each change function may change the broker's configuration. Opening an
// app on the connection returns the errors of [broker.Open], and an error if a change function is nil.
func Memory(change ...func(*broker.Config)) tidings.Connection {
	return newShared("Memory", broker.Config{Memory: true}, change)
}

// Broker returns a connection to a broker that the program has opened. The program must close the broker itself, after
// its apps. Opening an app on the connection returns an error if b is nil, and one that matches [broker.ErrClosed] if
// b is closed.
func Broker(b *broker.Broker) tidings.Connection { return external{b} }

// refused is the connection that a call with wrong arguments returns: opening an app on it fails with err.
type refused struct{ err error }

func (r refused) Connect(context.Context) (*tidings.Link, error) { return nil, r.err }

// external is the connection to a broker that the program has opened itself.
type external struct{ b *broker.Broker }

func (e external) Connect(ctx context.Context) (*tidings.Link, error) {
	if e.b == nil {
		return nil, errors.New("embedded: Broker needs an open broker, and got nil: make one with broker.Open, or use embedded.File or embedded.Memory")
	}
	conn, err := e.b.Dial(ctx) // to return an error if the broker is closed, instead of connecting again for ever
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	conn.Close()
	return link(e.b, nil), nil
}

// link returns a link to b whose clients are connected in memory. release becomes its Close; it may be nil.
func link(b *broker.Broker, release func() error) *tidings.Link {
	return &tidings.Link{
		Addresses: []string{"tidings:9092"}, // a placeholder: Dial ignores it
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
		Instance:  "embedded-" + b.ClusterID(),
		Close:     release,
	}
}

// WithoutStory makes conn, a connection of [File] or [Memory], run no indexer, and returns it. It is for programs that
// run their own indexer or need none. It must be called before an app is opened on the connection. Other connections
// have no indexer and are returned unchanged.
func WithoutStory(conn tidings.Connection) tidings.Connection {
	if s, ok := conn.(*shared); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bare = true
	}
	return conn
}

// shared is a connection of File or Memory: its broker runs as long as there are links, with an indexer unless bare is
// set.
//
// mu protects the fields below it. Invariant: broker is open if links > 0, and nil if links is 0; indexing is nil if
// broker is nil, or if bare was set when the broker was opened.
type shared struct {
	config broker.Config

	mu       sync.Mutex
	bare     bool // run no indexer
	broker   *broker.Broker
	indexing *indexing
	links    int
}

// newShared returns a connection to a broker with the configuration c after all changes. call is the name of the
// exported function, for errors.
func newShared(call string, c broker.Config, change []func(*broker.Config)) tidings.Connection {
	for i, f := range change {
		if f == nil {
			return refused{fmt.Errorf("embedded: change %d of %s is nil: leave it out, or pass a func(*broker.Config)", i+1, call)}
		}
		f(&c)
	}
	return &shared{config: c}
}

// Connect implements tidings.Connection. For the first link it opens the broker, and blocks until the broker is ready.
func (s *shared) Connect(context.Context) (*tidings.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == nil {
		b, err := broker.Open(s.config)
		if err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
		s.broker = b
		if !s.bare {
			s.indexing = startIndexing(b, s.config)
		}
	}
	s.links++
	var once sync.Once
	l := link(s.broker, func() (err error) {
		once.Do(func() { err = s.release() })
		return err
	})
	l.Indexed = s.indexing != nil
	return l, nil
}

// release ends one link. When the last one ends, it closes the indexer and then the broker.
func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links--
	if s.links > 0 {
		return nil
	}
	if s.indexing != nil {
		s.indexing.stop()
	}
	b := s.broker
	s.broker, s.indexing = nil, nil
	if err := b.Close(); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	return nil
}

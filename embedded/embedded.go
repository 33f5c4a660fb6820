// Package embedded runs a broker in the process that uses it: the log of tests, of development, and of services that
// need no server. It joins package tidings and package broker, which do not know each other.
//
//	app, err := tidings.Open("payment", embedded.File("./data"))
//
// Several apps of a process share a log by sharing the Connection. The broker starts with the first app that is opened
// on it and is closed with the last. Other processes reach it by the unix socket in its directory: tidings.Socket.
package embedded

import (
	"context"
	"fmt"
	"net"
	"sync"

	"tidings.dev"
	"tidings.dev/broker"
)

// File keeps the log in a directory, which is made if it is not there. Change adjusts the broker's configuration.
// Opening an app fails if another process runs a broker on the directory (*broker.LockedError).
func File(dir string, change ...func(*broker.Config)) tidings.Connection {
	return newShared(broker.Config{Dir: dir}, change)
}

// Memory keeps the log in memory, for tests: it is gone when the last app on it is closed. Each call makes a log of its
// own.
func Memory(change ...func(*broker.Config)) tidings.Connection {
	return newShared(broker.Config{Memory: true}, change)
}

// Broker uses a broker that the program runs itself, and does not close it.
func Broker(b *broker.Broker) tidings.Connection { return running{b} }

type running struct{ b *broker.Broker }

func (r running) Connect(context.Context) (*tidings.Link, error) { return link(r.b, nil), nil }

func link(b *broker.Broker, release func() error) *tidings.Link {
	return &tidings.Link{
		Addresses: []string{"tidings:9092"}, // a name that nobody resolves: all connections are dialled in memory
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
		Instance:  "embedded-" + b.ClusterID(),
		Close:     release,
	}
}

// shared is a broker that lives as long as somebody is linked to it.
type shared struct {
	config broker.Config

	mu     sync.Mutex
	broker *broker.Broker
	links  int
}

func newShared(c broker.Config, change []func(*broker.Config)) *shared {
	for _, f := range change {
		f(&c)
	}
	return &shared{config: c}
}

func (s *shared) Connect(context.Context) (*tidings.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == nil {
		b, err := broker.Open(s.config)
		if err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
		s.broker = b
	}
	s.links++
	var once sync.Once
	return link(s.broker, func() (err error) {
		once.Do(func() { err = s.release() })
		return err
	}), nil
}

func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links--
	if s.links > 0 {
		return nil
	}
	b := s.broker
	s.broker = nil
	if err := b.Close(); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	return nil
}

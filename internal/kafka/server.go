package kafka

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Config says how a Server runs. The zero value of each field is the default named beside it.
type Config struct {
	Engine *engine.Engine // required
	Logger *slog.Logger   // slog.DiscardHandler

	// Advertised is the address that clients are told to connect to, "host:port" or "host" (the port they dialled is
	// added). Empty: the address that each client dialled.
	Advertised string
	NodeID     int32 // 1

	// What DescribeConfigs tells; it changes nothing here.
	TopicDefaults  meta.Defaults
	BrokerSettings meta.BrokerSettings

	MaxConnections     int           // 10,000; one more is closed at once
	MaxFrameBytes      int           // 64 MiB: the largest Produce request
	MaxRequestBytes    int           // 1 MiB: the largest of any other request; decoded it may take as much again
	MaxInFlightBytes   int64         // 256 MiB of requests read and not yet handled, in all connections; at least MaxFrameBytes
	MaxConnectionBytes int           // MaxFrameBytes: of requests read and not yet handled, in one connection (one always fits)
	MaxFetchBytes      int           // 16 MiB: the most that one Fetch answers, whatever it asks for (one batch always fits)
	MaxResponseBytes   int64         // 256 MiB of answers waiting for their clients, in all; near it fetches are made smaller
	MaxFetchWait       time.Duration // 5 min: the longest long poll
	IdleTimeout        time.Duration // 10 min: a connection that asks nothing for so long is closed
}

func (c Config) withDefaults() Config {
	setDefault(&c.NodeID, 1)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxFrameBytes, 64<<20)
	setDefault(&c.MaxRequestBytes, 1<<20)
	setDefault(&c.MaxInFlightBytes, 256<<20)
	setDefault(&c.MaxConnectionBytes, c.MaxFrameBytes)
	setDefault(&c.MaxFetchBytes, 16<<20)
	setDefault(&c.MaxResponseBytes, 256<<20)
	setDefault(&c.MaxFetchWait, 5*time.Minute)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.MaxInFlightBytes = max(c.MaxInFlightBytes, int64(c.MaxFrameBytes), int64(c.MaxRequestBytes))
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server speaks the Kafka protocol for one engine. Make one with New; its methods are safe for concurrent use.
type Server struct {
	config  Config
	engine  *engine.Engine
	log     *slog.Logger
	limits  frameLimits
	frames  *budget
	replies *meter

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	ended  sync.Cond // a connection has ended
}

// New returns a server that is ready for connections. The engine stays its caller's, and must outlive the server.
func New(c Config) *Server {
	c = c.withDefaults()
	s := &Server{
		config:  c,
		engine:  c.Engine,
		log:     c.Logger,
		limits:  frameLimits{produceBytes: c.MaxFrameBytes, requestBytes: c.MaxRequestBytes},
		frames:  newBudget(c.MaxInFlightBytes),
		replies: &meter{total: c.MaxResponseBytes},
		conns:   make(map[*conn]struct{}),
	}
	s.ended.L = &s.mu
	return s
}

// ServeConn serves one connection until the client leaves, misbehaves, ctx is done, or the server is drained or closed;
// then the connection is closed. A connection over MaxConnections, or one that comes after Drain or Close, is closed at
// once.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	c := newConn(ctx, s, nc)
	if !s.add(c) {
		c.stop(errRefused)
		nc.Close()
		return
	}
	c.serve()
	s.remove(c)
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if len(s.conns) >= s.config.MaxConnections {
		s.log.Warn("connection refused: too many", "client", c.clientHost, "max", s.config.MaxConnections)
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.ended.Broadcast()
	s.mu.Unlock()
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain takes no more requests, cuts long polls short, answers what has been read, and closes each connection when its
// answers are sent. It returns when all have ended; when ctx is done first, the rest is cut off and ctx's error
// returned. Later connections are refused.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.stop(context.Cause(ctx))
		}
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) > 0 {
		s.ended.Wait()
	}
	return ctx.Err()
}

// Close cuts all connections off and returns when they have ended.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx) // only says that it was cut off, as asked
}

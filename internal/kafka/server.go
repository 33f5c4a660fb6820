package kafka

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Config is the configuration of a [Server]. Engine is required. Every other field has the default named beside it when
// it is zero.
type Config struct {
	Engine *engine.Engine // the log to serve; the caller closes it, after all connections have ended
	// Logger is written to whenever a client does what it should not. It should have a handler of quietlog.NewForPeers,
	// as clients could fill the log otherwise. By default nothing is logged.
	Logger *slog.Logger

	// Advertised is the address that clients are told to connect to: "host:port", or "host" with the port that each
	// client dialled. If Advertised is empty, each client is told the address that it dialled.
	Advertised string
	NodeID     int32 // Kafka's node id of this broker; default 1
	// DataDir is the name of the directory that DescribeLogDirs reports; default "memory".
	DataDir string

	// TopicDefaults and BrokerSettings are the values that DescribeConfigs reports. The server does not apply them. It
	// reports its own MaxFetchSessions in place of that of BrokerSettings.
	TopicDefaults  meta.Defaults
	BrokerSettings meta.BrokerSettings

	// MaxConnections is the number of connections that are served at the same time; a further connection is closed at
	// once. Default 10,000.
	MaxConnections int
	// MaxFrameBytes is the maximum size of one Produce request; default 64 MiB.
	MaxFrameBytes int
	// MaxRequestBytes is the maximum size of one request of any other API; default 1 MiB. The decoded form of the
	// request may take as much memory again.
	MaxRequestBytes int
	// MaxInFlightBytes bounds the requests that are read and not yet handled, in all connections together; default 128
	// MiB. It is raised to twice MaxFrameBytes or MaxRequestBytes if it is lower. A quarter is reserved for requests of at
	// most 64 KiB. A connection's only request is not counted if it has at most 4 KiB. While the budget is used up, no
	// further request is read, and connections whose requests arrive slowly are closed.
	MaxInFlightBytes int64
	// MaxConnectionBytes bounds the requests that are read and not yet handled, in one connection; default
	// MaxFrameBytes. A larger request is still read when no other is being handled.
	MaxConnectionBytes int
	// MaxFetchBytes bounds the records in one Fetch response, even if the client asks for more; default 16 MiB. A
	// single larger batch is still served.
	MaxFetchBytes int
	// MaxResponseBytes bounds the responses in memory that are not yet sent, together with the requests, fetch sessions,
	// groups, positions and producers of all connections; default 128 MiB. Whatever these take, the responses have at least a quarter of it. While
	// they have no room, large responses are not made and Fetch answers without records, and connections are closed whose
	// clients have read nothing for a second.
	MaxResponseBytes int64
	// MaxFetchWait is the longest time that a Fetch waits for records, even if the client asks for more; default 5 min.
	MaxFetchWait time.Duration
	// MaxFetchSessions is the number of fetch sessions (KIP-227), of which a connection has one at most; default 1,000.
	// Clients without one send all their partitions in each Fetch.
	MaxFetchSessions int
	// MaxFetchSessionBytes bounds the memory of all fetch sessions together, each about 128 bytes for a partition and 320
	// for a topic; default 64 MiB.
	MaxFetchSessionBytes int
	// IdleTimeout is the time after which a connection is closed if no request arrives and none is being handled;
	// default 10 min.
	IdleTimeout time.Duration
}

// withDefaults returns c with the default in place of each zero value, and with MaxInFlightBytes large enough for two
// of the largest request.
func (c Config) withDefaults() Config {
	setDefault(&c.NodeID, 1)
	setDefault(&c.DataDir, "memory")
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxFrameBytes, 64<<20)
	setDefault(&c.MaxRequestBytes, 1<<20)
	setDefault(&c.MaxInFlightBytes, 128<<20)
	setDefault(&c.MaxConnectionBytes, c.MaxFrameBytes)
	setDefault(&c.MaxFetchBytes, 16<<20)
	setDefault(&c.MaxResponseBytes, 128<<20)
	setDefault(&c.MaxFetchWait, 5*time.Minute)
	setDefault(&c.MaxFetchSessions, 1000)
	setDefault(&c.MaxFetchSessionBytes, 64<<20)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.MaxInFlightBytes = max(c.MaxInFlightBytes, 2*int64(c.MaxFrameBytes), 2*int64(c.MaxRequestBytes))
	return c
}

// setDefault sets *field to value if it is zero.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server speaks the Kafka protocol for one engine. [New] makes a Server; the zero value cannot be used. Its methods are
// safe for concurrent use.
//
// The field mu protects conns and closed. Once closed is true, no connection is added to conns.
type Server struct {
	config        Config
	engine        *engine.Engine
	log           *slog.Logger
	limits        frameLimits
	requestBytes  *requestBudget  // of request frames read and not yet handled, in all connections together
	responseBytes *responseBudget // of responses not yet sent, in all connections together
	turns         chan *turn      // the turns that nobody has
	fetchSessions *fetchSessions

	mu     sync.Mutex
	conns  map[*conn]struct{} // the connections that are being served
	closed bool               // set when Drain or Close begins
	ended  sync.Cond          // broadcast when a connection has ended; uses mu
}

// New returns a server for the engine in c. It starts no goroutine; call [Server.ServeConn] for each connection.
func New(c Config) *Server {
	c = c.withDefaults()
	s := &Server{
		config:        c,
		engine:        c.Engine,
		log:           c.Logger,
		limits:        frameLimits{produceBytes: c.MaxFrameBytes, requestBytes: c.MaxRequestBytes},
		requestBytes:  newRequestBudget(c.MaxInFlightBytes, int64(max(c.MaxFrameBytes, c.MaxRequestBytes))),
		fetchSessions: newFetchSessions(c.MaxFetchSessions, c.MaxFetchSessionBytes),
		turns:         make(chan *turn, max(1, runtime.GOMAXPROCS(0)/2)),
		conns:         make(map[*conn]struct{}),
	}
	s.responseBytes = &responseBudget{
		maxBytes: c.MaxResponseBytes, minBytes: c.MaxResponseBytes / 4, closeUnread: s.closeUnread,
		others: s.otherClientBytes,
	}
	for range cap(s.turns) {
		s.turns <- new(turn)
	}
	s.ended.L = &s.mu
	return s
}

// otherClientBytes returns the memory in bytes, about, of what clients have the server hold besides responses.
func (s *Server) otherClientBytes() int64 {
	_, sessionBytes := s.fetchSessions.inUse()
	return s.requestBytes.inUse() + int64(sessionBytes) + s.engine.ClientBytes()
}

// ServeConn serves one connection, and closes it before it returns. ServeConn blocks until the client disconnects or
// sends a request that cannot be read, ctx is done, or the server is drained or closed. If MaxConnections connections
// are being served, or Drain or Close has begun, ServeConn closes nc and returns at once. The caller must not use nc
// after the call.
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

// add registers c as being served, and reports whether it did: the server may be closed, or have too many connections.
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

// remove removes c, whose goroutines have ended, from the connections being served.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.ended.Broadcast()
	s.mu.Unlock()
}

// Connections returns the number of connections that are being served.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain closes all connections once their pending requests are answered: each connection reads no more requests, Fetch
// requests that wait for records are answered at once, and the connection is closed after its last response is sent.
// Drain blocks until all connections have ended. If ctx is done first, Drain closes the remaining connections without
// answering and returns ctx.Err(). Connections passed to ServeConn from now on are refused.
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

// Close closes all connections without answering their pending requests, and returns when they have ended. Connections
// passed to ServeConn from now on are refused.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx) // always ctx's error
}

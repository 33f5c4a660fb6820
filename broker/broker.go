// Package broker is a durable event log that speaks the Apache Kafka protocol, to run inside a Go process or to serve
// on the network. A record that was acknowledged survives the process, the operating system and the power supply.
//
//	b, err := broker.Open(broker.Config{Dir: "./data"})
//	…
//	conn, err := b.Dial(ctx) // in memory, for a Kafka client in this process
//	go b.Serve(listener)     // for all others
//	…
//	err = b.Close()          // answers what is under way
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/kafka"
	"tidings.dev/internal/pipe"
	"tidings.dev/internal/vfs"
)

// Broker is an open log. Make one with Open; its methods are safe for concurrent use.
type Broker struct {
	config Config
	log    *slog.Logger
	engine *engine.Engine
	server *kafka.Server
	disk   io.Closer // the descriptor of Dir; nil without one
	lock   *vfs.DirLock
	socket *socket // nil without Dir, or where the path is too long

	control   *socket    // the same
	snapshots sync.Mutex // held while there is one

	ctx    context.Context // ends when Close gives up waiting
	cancel context.CancelFunc
	conns  sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	closing   bool
	closeOnce sync.Once
	closeErr  error
}

// Open opens the log in a data directory, or makes one, and brings back everything that was acknowledged. It returns
// when the broker is ready. Errors: *LockedError (with the owner's process id), *ForeignError, *FormatError, those of
// recovery, which name the file and the position, and those of the file system.
func Open(c Config) (_ *Broker, err error) {
	c, err = c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{config: c, log: c.Logger, listeners: map[net.Listener]struct{}{}}
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	fs, err := b.openFS()
	if err != nil {
		return nil, err
	}
	ec := engine.Config{
		FS:                fs,
		Logger:            c.Logger,
		AutoCreateTopics:  c.AutoCreateTopics,
		DefaultPartitions: c.DefaultPartitions,
		SegmentBytes:      c.SegmentBytes,
		CheckpointBytes:   c.CheckpointBytes,
		TailBytes:         c.TailBytes,
		MaxBatchBytes:     c.MaxBatchBytes,
		RetentionInterval: c.RetentionInterval,
	}
	if c.Memory {
		ec.JournalFileBytes = memoryJournalFileBytes
	}
	if b.engine, err = engine.Open(ec); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	defaults, settings := b.engine.Settings()
	settings.NodeID, settings.Advertised = nodeID, c.AdvertisedAddr
	b.server = kafka.New(kafka.Config{
		Engine:             b.engine,
		Logger:             c.Logger,
		Advertised:         c.AdvertisedAddr,
		NodeID:             nodeID,
		TopicDefaults:      defaults,
		BrokerSettings:     settings,
		MaxConnections:     c.MaxConnections,
		MaxConnectionBytes: c.MaxConnectionBytes,
		MaxInFlightBytes:   c.MaxInFlightBytes,
	})
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if c.Dir != "" {
		if err := b.listenOnSocket(); err != nil {
			return nil, err
		}
		if err := b.listenForControl(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

const (
	nodeID                 = 1
	memoryJournalFileBytes = 1 << 20 // memory is zeroed at once: small files make small brokers open fast
	memoryBytes            = 8 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.fs == nil && (c.Dir == "") != c.Memory {
		return c, errors.New("broker: Config needs either Dir or Memory")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.Memory && c.CheckpointBytes <= 0 {
		c.CheckpointBytes = memoryBytes
	}
	if c.Memory && c.TailBytes <= 0 {
		c.TailBytes = memoryBytes
	}
	return c, nil
}

// openFS finds the broker's files. A directory that is not ours is refused before anything, a lock included, is put
// into it.
func (b *Broker) openFS() (vfs.FS, error) {
	switch {
	case b.config.fs != nil:
		return b.config.fs, nil
	case b.config.Memory:
		return vfs.NewMem(), nil
	}
	fs, err := vfs.Disk(b.config.Dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	b.disk, _ = fs.(io.Closer)
	if err := engine.CheckDirectory(fs); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	if b.lock, err = vfs.Lock(b.config.Dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	return fs, nil
}

// String names the broker by where its log is.
func (b *Broker) String() string {
	if b.config.Dir == "" {
		return "broker in memory"
	}
	return b.config.Dir
}

// ClusterID is the identity of the log for ever.
func (b *Broker) ClusterID() string { return b.engine.ClusterID() }

// Err returns why nothing can be written any more (matches ErrStorage), or nil. Reads go on; a new Open may mend it.
func (b *Broker) Err() error { return b.engine.Err() }

// Full returns why nothing can be appended until there is room on the disk (matches ErrStorage), or nil. Reads go on;
// positions and deletions do as long as what is kept back for them lasts, and appends once there is room.
func (b *Broker) Full() error { return b.engine.Full() }

// Dial connects within the process: a buffered connection without a network, which behaves as a TCP connection does,
// deadlines included. ErrClosed after Close.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ours, theirs := pipe.New(0, pipe.Addr("tidings"), pipe.Addr("client"))
	if !b.serve(ours) {
		return nil, ErrClosed
	}
	return theirs, nil
}

// serve takes a connection on in the background; false: the broker closes.
func (b *Broker) serve(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.conns.Go(func() { b.server.ServeConn(b.ctx, conn) })
	return true
}

// Serve takes connections from l until the broker closes or l fails, and closes l. It returns ErrClosed in the first
// case. Several listeners may be served at the same time. Clients are told the address that they dialled, unless
// Config.AdvertisedAddr says otherwise.
func (b *Broker) Serve(l net.Listener) error {
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		l.Close()
		return ErrClosed
	}
	b.listeners[l] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, l)
		b.mu.Unlock()
		l.Close()
	}()

	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if !b.serve(conn) {
				conn.Close()
				return ErrClosed
			}
		case b.isClosing():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		default:
			// Most likely the process has no file descriptors left; some will come back.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			b.log.Warn("a connection could not be accepted", "address", l.Addr(), "err", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-b.ctx.Done():
			}
		}
	}
}

func (b *Broker) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

// Close stops accepting, answers the requests that have come in, for at most Config.DrainTimeout, cuts off the rest,
// and closes the log with a checkpoint, so that the next Open has nothing to replay. Calling it again returns the same.
func (b *Broker) Close() error {
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *Broker) close() error {
	b.mu.Lock()
	b.closing = true
	for l := range b.listeners {
		l.Close()
	}
	b.mu.Unlock()
	for _, s := range []*socket{b.socket, b.control} {
		if s != nil {
			s.close()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.config.DrainTimeout)
	defer cancel()
	if err := b.server.Drain(ctx); err != nil {
		b.log.Warn("requests were cut off", "after", b.config.DrainTimeout, "err", err)
	}
	b.cancel()
	b.conns.Wait()
	return b.release()
}

// release gives back what Open took, in whatever state that is.
func (b *Broker) release() error {
	var errs []error
	if b.engine != nil {
		errs = append(errs, b.engine.Close())
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Release())
	}
	if b.disk != nil {
		errs = append(errs, b.disk.Close())
	}
	return errors.Join(errs...)
}

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

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/kafka"
	"tidings.dev/internal/pipe"
	"tidings.dev/internal/quietlog"
	"tidings.dev/internal/vfs"
)

// Broker is an open log. [Open] makes a Broker. On the zero value, Dial, Serve, Close, Err and Full return an error that
// says so, and ClusterID returns the empty string. All methods are safe for concurrent use.
//
// The field mu protects listeners and closing. Once closing is true, nothing is added to listeners and no connection is
// begun.
type Broker struct {
	config  Config
	log     *slog.Logger
	engine  *engine.Engine
	server  *kafka.Server
	disk    io.Closer    // the descriptor of Dir; nil if Dir is empty
	lock    *vfs.DirLock // the lock on Dir; nil if Dir is empty
	socket  *socket      // for DialDir; nil if Dir is empty or its path is too long for a socket
	control *socket      // for SnapshotOf and CheckpointOf; nil likewise

	descriptors descriptors // of accepted connections

	snapshots sync.Mutex // held while a snapshot exists, since there is only one at a time

	ctx    context.Context // done when Close ends the remaining connections
	cancel context.CancelFunc
	conns  sync.WaitGroup // counts the goroutines of connections and sockets

	mu        sync.Mutex
	listeners map[net.Listener]struct{} // listeners that Serve is serving
	closing   bool                      // set when Close begins

	closeOnce sync.Once
	closeErr  error
}

// Open opens the log that c describes, and creates it if it does not exist. It recovers all acknowledged records, which
// may take seconds after a crash, and returns when the broker is ready. Open also creates unix sockets in the data
// directory, for [DialDir], [SnapshotOf] and [CheckpointOf].
//
// Errors: for a Config that cannot be used, an error that names the field; *[LockedError] if another broker has the
// directory open; *[ForeignError]; *[FormatError]; for a damaged log, an error that names the file, the position and
// the command that repairs it; and errors of the file system. The caller must call [Broker.Close].
func Open(c Config) (_ *Broker, err error) {
	c, err = c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{config: c, log: slog.New(quietlog.NewForPeers(c.Logger.Handler())), listeners: map[net.Listener]struct{}{}}
	b.descriptors.max = maxAcceptedConnections()
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	ec := engine.Config{
		Logger:            c.Logger,
		AutoCreateTopics:  c.AutoCreateTopics,
		DefaultPartitions: c.DefaultPartitions,
		SegmentBytes:      c.SegmentBytes,
		CheckpointBytes:   c.CheckpointBytes,
		TailBytes:         c.TailBytes,
		MaxBatchBytes:     c.MaxBatchBytes,
		RetentionInterval: c.RetentionInterval,
	}
	if ec, err = ec.WithSettings(c.Settings); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSetting, err)
	}
	if ec.FS, err = b.openFS(); err != nil {
		return nil, err
	}
	if c.Memory {
		ec.JournalFileBytes = memoryJournalFileBytes
	}
	if b.engine, err = engine.Open(ec); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	defaults, described := b.engine.Settings()
	described.NodeID, described.Advertised = nodeID, c.AdvertisedAddr
	b.server = kafka.New(kafka.Config{
		Engine:             b.engine,
		Logger:             b.log,
		Advertised:         c.AdvertisedAddr,
		NodeID:             nodeID,
		DataDir:            c.Dir,
		TopicDefaults:      defaults,
		BrokerSettings:     described,
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

// nodeID is Kafka's node id of the broker, which is the only one in its cluster.
const nodeID = 1

// Sizes in bytes for a broker in memory, in place of the larger defaults. Its files are filled with zeros when they are
// created, so that a broker with large files would open slowly.
const (
	memoryJournalFileBytes = 1 << 20
	memoryBytes            = 8 << 20 // for CheckpointBytes and TailBytes
)

// withDefaults checks c and returns it with the defaults of Logger, DrainTimeout and, for a broker in memory,
// CheckpointBytes and TailBytes. Packages engine and kafka set the others.
func (c Config) withDefaults() (Config, error) {
	if err := c.check(); err != nil {
		return c, err
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

// openFS returns the file system for the broker's files, and locks the data directory if there is one. It returns an
// error for a directory that contains other files before it creates the file of the lock.
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
	if err := datadir.Check(fs); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	if b.lock, err = vfs.Lock(b.config.Dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", b, err)
	}
	return fs, nil
}

// String returns Config.Dir, or "broker in memory" if Dir is empty.
func (b *Broker) String() string {
	if b.config.Dir == "" {
		return "broker in memory"
	}
	return b.config.Dir
}

// ClusterID returns the id of the log, which Kafka's clients see as the cluster id. The id is chosen when the log is
// created and never changes.
func (b *Broker) ClusterID() string {
	if b.checkOpened("ClusterID") != nil {
		return ""
	}
	return b.engine.ClusterID()
}

// Err returns nil while the log can be written. After a failed write or sync it returns the cause, an error that
// matches [ErrStorage]: the broker then writes nothing more, but clients can still read. Closing the broker and opening
// the log again may help.
func (b *Broker) Err() error {
	if err := b.checkOpened("Err"); err != nil {
		return err
	}
	return b.engine.Err()
}

// Full returns nil while the disk has room. Otherwise it returns an error that matches [ErrStorage]: the broker then
// refuses records until there is room again. Meanwhile clients can read, and, as long as the space reserved for that
// lasts, commit positions and delete topics and records.
func (b *Broker) Full() error {
	if err := b.checkOpened("Full"); err != nil {
		return err
	}
	return b.engine.Full()
}

// Dial connects a client in this process to the broker. The connection is in memory and buffered; it behaves like a TCP
// connection, including deadlines. The caller must close it. Dial does not block. It returns ctx's error if ctx is
// done; once [Broker.Close] has begun, its error matches [ErrClosed].
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) {
	if err := b.checkOpened("Dial"); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ours, theirs := pipe.New(0, pipe.Addr("tidings"), pipe.Addr("client"))
	if !b.serve(ours, nil) {
		return nil, fmt.Errorf("broker: Dial of %s: %w; broker.Open opens the log again", b, ErrClosed)
	}
	return theirs, nil
}

// serve starts a goroutine that serves conn and then calls done, unless done is nil, and reports true. Once Close has
// begun, it reports false, and the caller must close conn.
func (b *Broker) serve(conn net.Conn, done func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.conns.Go(func() {
		b.server.ServeConn(b.ctx, conn)
		if done != nil {
			done()
		}
	})
	return true
}

// Serve accepts connections from l and serves them. It blocks, so it is usually called in a goroutine. Several calls
// with different listeners may run at the same time.
//
// When [Broker.Close] begins, Serve returns [ErrClosed]. An error of l.Accept that may pass, such as a lack of file
// descriptors, is logged, and Serve calls l.Accept again after at most a second. Serve returns any other error of
// l.Accept; if l was closed in another way than by Close, it matches [net.ErrClosed]. Serve closes l before it returns,
// except when b was not made by Open.
//
// Clients are told to connect to the address that they dialled, unless Config.AdvertisedAddr is set.
func (b *Broker) Serve(l net.Listener) error {
	if l == nil {
		return errors.New("broker: Serve needs a listener, and got nil: make one with net.Listen")
	}
	if err := b.checkOpened("Serve"); err != nil {
		return err
	}
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

	for {
		conn, err := b.accept(l)
		switch {
		case err != nil && b.isClosing():
			return ErrClosed
		case err != nil:
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		case !b.descriptors.take(conn):
			b.log.Warn("connection refused: the process may have no more open files", "client", kafka.PeerHost(conn.RemoteAddr()), "max", b.descriptors.max)
			conn.Close()
		case !b.serve(conn, b.descriptors.release):
			conn.Close()
			return ErrClosed
		}
	}
}

// isClosing reports whether Close has begun.
func (b *Broker) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

// Close closes the broker. It closes all listeners, waits at most Config.DrainTimeout for the requests that have
// arrived to be answered, closes all connections, and closes the log with a checkpoint, so that the next Open has no
// journal to replay. It blocks until that is done. An error means that a part could not be closed properly; all
// acknowledged records are durable nevertheless. Later calls wait for the first and return the same error.
func (b *Broker) Close() error {
	if err := b.checkOpened("Close"); err != nil {
		return err
	}
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

// close does the work of Close. It must be called once.
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

// checkOpened returns an error if b was not made by Open. method is the name of the calling method, for the text.
func (b *Broker) checkOpened(method string) error {
	if b == nil || b.server == nil {
		return fmt.Errorf("broker: %s on a Broker that was not opened: make it with broker.Open", method)
	}
	return nil
}

// release closes the engine, the lock and the directory, as far as Open has opened them. The broker must not be used
// afterwards.
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

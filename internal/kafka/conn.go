package kafka

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	errDraining = errors.New("kafka: the server is draining")
	errRefused  = errors.New("kafka: connection refused")
	errRude     = errors.New("kafka: a produce request without acknowledgement failed")
)

// queuedFrames is how many requests may wait behind one that blocks before the reader stops reading.
const queuedFrames = 16

// readerBytes is the read buffer: small requests come in one system call, large ones bypass it.
const readerBytes = 4 << 10

// conn is one client's connection.
type conn struct {
	server     *Server
	net        net.Conn
	in         *bufio.Reader
	solo       solo   // of the reader, as is
	peek       peeker // zero where the connection is not TCP
	out        outbox
	host       string // where this client is told to connect
	port       int32
	clientHost string // as group descriptions show it

	ctx    context.Context // done when the connection is to end
	cancel context.CancelCauseFunc
	polls  context.Context // done when blocking handlers should answer: with ctx, or when draining
	cut    context.CancelFunc

	held     *budget      // bytes of this connection's frames
	queue    chan *frame  // to the worker
	working  atomic.Int64 // frames in the queue or in the worker's hands
	draining atomic.Bool
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{server: s, net: nc, in: bufio.NewReaderSize(nc, readerBytes), queue: make(chan *frame, queuedFrames)}
	c.held = newBudget(int64(s.config.MaxConnectionBytes))
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.polls, c.cut = context.WithCancel(c.ctx)
	c.host, c.port = advertise(s.config.Advertised, nc.LocalAddr())
	c.clientHost = hostOf(nc.RemoteAddr())
	c.out.init(nc, s.replies, c.stop)
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.peek.init(tcp)
	}
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	// A context that ends must reach goroutines that block in the network or in the outbox.
	unhook := context.AfterFunc(c.ctx, func() {
		c.net.Close()
		c.out.abandon()
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.out.run()
	}()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		c.work()
	}()

	err := c.read()
	close(c.queue)
	if !errors.Is(err, errDraining) {
		c.cut() // the client is gone, or not understood: nobody waits for a long poll
	}
	<-worked
	c.out.close()
	<-written
	c.stop(err)
	unhook()
	c.out.settle()
	c.net.Close()
	c.report(context.Cause(c.ctx))
}

// stop ends the connection as soon as possible; the first reason stays.
func (c *conn) stop(reason error) { c.cancel(reason) }

// drain lets the connection end once what it has read is answered.
func (c *conn) drain() {
	c.draining.Store(true)
	c.net.SetReadDeadline(time.Unix(1, 0))
	c.cut()
}

// read takes frames off the wire until that is over, and returns why. A Produce request is handled here when nothing
// stands before it, since its handler hardly blocks; everything else goes to the worker, so that the end of the
// connection is noticed during a long poll.
func (c *conn) read() error {
	for {
		f, err := c.readFrame()
		if err != nil {
			if c.draining.Load() {
				return errDraining
			}
			return err
		}
		if f.api.key == keyProduce && c.working.Load() == 0 {
			if err := c.produce(f, c.solo.leads(c)); err != nil {
				return err
			}
			continue
		}
		c.working.Add(1)
		select {
		case c.queue <- f:
		case <-c.ctx.Done():
			c.release(f)
			return context.Cause(c.ctx)
		}
	}
}

// work handles queued requests in order. When the connection has broken, what is left in the queue is dropped except
// produced records: a client that wants no acknowledgement may close right after sending.
func (c *conn) work() {
	for f := range c.queue {
		gone := c.ctx.Err() != nil || c.polls.Err() != nil && !c.draining.Load()
		switch {
		case gone && f.api.key != keyProduce:
			c.release(f)
		default:
			if err := c.handle(f); err != nil {
				c.stop(err)
			}
		}
		c.working.Add(-1)
	}
}

// handle performs one request. It takes over the frame. An error ends the connection.
func (c *conn) handle(f *frame) error {
	switch f.api.key {
	case keyProduce:
		return c.produce(f, false)
	case keyFetch:
		return c.fetch(f)
	}
	defer c.release(f)
	switch f.api.key {
	case keyApiVersions:
		return c.apiVersions(f)
	case keySaslHandshake:
		return c.saslHandshake(f)
	case keySaslAuthenticate:
		return c.saslAuthenticate(f)
	}
	budgetBytes := 2*c.server.config.MaxRequestBytes - len(f.buf.Bytes)
	if err := layouts[f.api.key].check(f.body, f.version, budgetBytes); err != nil {
		return err
	}
	req := kmsg.RequestForKey(int16(f.api.key))
	req.SetVersion(f.version)
	if err := req.ReadFrom(f.body); err != nil { // copies strings, aliases bytes: handlers clone those they keep
		return errors.Join(ErrMalformed, err)
	}
	resp := c.dispatch(req, f)
	c.send(f, resp.AppendTo(nil))
	return nil
}

// dispatch finds the handler of a decoded request.
func (c *conn) dispatch(req kmsg.Request, f *frame) kmsg.Response {
	ctx := c.polls
	switch r := req.(type) {
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(r)
	case *kmsg.MetadataRequest:
		return c.metadata(ctx, r)
	case *kmsg.OffsetCommitRequest:
		return c.offsetCommit(ctx, r)
	case *kmsg.OffsetFetchRequest:
		return c.offsetFetch(r)
	case *kmsg.FindCoordinatorRequest:
		return c.findCoordinator(r)
	case *kmsg.JoinGroupRequest:
		return c.joinGroup(ctx, r, string(f.clientID))
	case *kmsg.HeartbeatRequest:
		return c.heartbeat(ctx, r)
	case *kmsg.LeaveGroupRequest:
		return c.leaveGroup(ctx, r)
	case *kmsg.SyncGroupRequest:
		return c.syncGroup(ctx, r)
	case *kmsg.DescribeGroupsRequest:
		return c.describeGroups(r)
	case *kmsg.ListGroupsRequest:
		return c.listGroups(r)
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(ctx, r)
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(ctx, r)
	case *kmsg.DeleteRecordsRequest:
		return c.deleteRecords(ctx, r)
	case *kmsg.InitProducerIDRequest:
		return c.initProducerID(ctx, r)
	case *kmsg.OffsetForLeaderEpochRequest:
		return c.offsetForLeaderEpoch(r)
	case *kmsg.DescribeConfigsRequest:
		return c.describeConfigs(r)
	case *kmsg.AlterConfigsRequest:
		return c.alterConfigs(ctx, r)
	case *kmsg.IncrementalAlterConfigsRequest:
		return c.incrementalAlterConfigs(ctx, r)
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(ctx, r)
	case *kmsg.DeleteGroupsRequest:
		return c.deleteGroups(ctx, r)
	case *kmsg.OffsetDeleteRequest:
		return c.offsetDelete(ctx, r)
	case *kmsg.DescribeClusterRequest:
		return c.describeCluster(r)
	}
	panic("kafka: no handler for " + f.api.name) // the table and this switch are one thing: a test calls each key
}

// encoded is a body that is encoded already.
type encoded struct{ bytes []byte }

func (b encoded) encode(e *encoder, _ int16) { e.attach(b.bytes) }

// send answers f with an encoded body.
func (c *conn) send(f *frame, bytes []byte) {
	c.out.send(c.answer(f, encoded{bytes}), len(bytes))
}

// answer makes f's place in the line.
func (c *conn) answer(f *frame, b body) *answer {
	flexible := f.version >= f.api.flexible
	return &answer{
		body: b, correlation: f.correlation, version: f.version, flexible: flexible,
		headerTags: flexible && f.api.key != keyApiVersions,
	}
}

// acquire takes bytes for a frame from the budgets of this connection and of all, in this order, so that a connection
// that waits for itself holds nothing of the others'.
func (c *conn) acquire(bytes int) error {
	if err := c.held.acquire(c.ctx, bytes); err != nil {
		return err
	}
	if err := c.server.frames.acquire(c.ctx, bytes); err != nil {
		c.held.release(bytes)
		return err
	}
	return nil
}

// release gives a frame and its share of the budgets back.
func (c *conn) release(f *frame) {
	bytes := f.held
	f.recycle()
	c.giveBack(bytes)
}

// giveBack gives bytes back to the budgets.
func (c *conn) giveBack(bytes int) {
	c.server.frames.release(bytes)
	c.held.release(bytes)
}

// idle reports whether nothing of this connection is in work.
func (c *conn) idle() bool { return c.working.Load() == 0 && c.out.empty() }

// report logs how the connection ended: loudly when the client did what it should not.
func (c *conn) report(reason error) {
	log := c.server.log.With("client", c.clientHost, "reason", reason)
	switch {
	case errors.Is(reason, ErrMalformed), errors.Is(reason, ErrRequestTooLarge), errors.Is(reason, ErrUnsupported):
		log.Warn("connection closed: the client sent what cannot be read")
	default:
		log.Debug("connection closed")
	}
}

// isTimeout reports whether err is a deadline's.
func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() && !errors.Is(err, io.ErrUnexpectedEOF)
}

package kafka

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reasons for which the server ends a connection. They are logged, and never sent to the client.
var (
	errDraining             = errors.New("kafka: the server is draining")
	errRefused              = errors.New("kafka: connection refused")
	errUnackedProduceFailed = errors.New("kafka: a produce request without acknowledgement failed")
)

// queuedFrames is the capacity of conn.queue, in requests. While the queue is full, the reader reads nothing from the
// connection.
const queuedFrames = 16

// readBufferBytes is the size of a connection's read buffer. One read system call then returns several small requests;
// reads of large requests bypass the buffer.
const readBufferBytes = 4 << 10

// conn is one client's connection. Its method serve runs three goroutines:
//
//   - the reader (conn.read) reads frames; only it uses the fields in, inlineCommit and input. It handles a Produce
//     request itself if no earlier request is still being handled;
//   - the worker (conn.work) handles all other requests, in the order of queue;
//   - the writer (responseWriter.run) sends the responses that the reader and the worker do not send themselves.
//
// A frame has one owner at a time: first the reader, then the worker once it has received the frame from queue. The
// counter unhandled includes the frame that the worker is handling, so that the reader handles a Produce request only
// after all earlier requests.
type conn struct {
	server       *Server
	net          net.Conn
	in           *bufio.Reader
	inlineCommit inlineCommit
	input        inputProbe // unset (zero) if the connection is not TCP
	responses    responseWriter
	host         string // host and port are the broker address that this client is told
	port         int32
	clientHost   string // the client's address, as group descriptions show it

	ctx    context.Context // done when the connection must end; its cause is the reason
	cancel context.CancelCauseFunc
	// done when blocking handlers must answer at once: when ctx is done, the client has gone, or the connection is
	// draining
	pollCtx     context.Context
	cancelPolls context.CancelFunc

	frameBytes *byteBudget // bounds this connection's frames that are read and not yet handled
	queue      chan *frame // from the reader to the worker; closed by serve when the reader has ended
	// behind has room for one value. The reader sends it before it puts a frame into queue while another is unhandled; the
	// worker drops it before a Fetch waits, so that a value which comes later is of a frame behind the Fetch.
	behind    chan struct{}
	unhandled atomic.Int64 // number of frames in queue or being handled by the worker
	draining  atomic.Bool  // set by drain

	fetchedPartitions int   // number of partitions of the last Fetch; only the worker uses it
	turn              *turn // likewise; nil while it has none
}

// newConn returns a connection on which serve can be called. The connection ends when ctx is done. Every conn must be
// stopped, to release its contexts.
func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{server: s, net: nc, in: bufio.NewReaderSize(nc, readBufferBytes), queue: make(chan *frame, queuedFrames), behind: make(chan struct{}, 1)}
	c.frameBytes = newByteBudget(int64(s.config.MaxConnectionBytes))
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.pollCtx, c.cancelPolls = context.WithCancel(c.ctx)
	c.host, c.port = advertisedAddress(s.config.Advertised, nc.LocalAddr())
	c.clientHost = PeerHost(nc.RemoteAddr())
	c.responses.init(nc, s.responseBytes, c.stop)
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.input.init(tcp)
	}
	return c
}

// serve runs the connection until it ends, and closes it. It returns after all goroutines of the connection have
// returned.
func (c *conn) serve() {
	// When ctx is done, this unblocks the goroutines that wait in the network or on the queue of responses.
	unhook := context.AfterFunc(c.ctx, func() {
		c.net.Close()
		c.responses.abandon()
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.responses.run()
	}()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		c.work()
	}()

	err := c.read()
	close(c.queue)
	if !errors.Is(err, errDraining) {
		c.cancelPolls() // the client has gone or has sent an unreadable request: a Fetch need not wait for records any more
	}
	<-worked
	c.responses.close()
	<-written
	c.stop(err)
	unhook()
	c.server.fetchSessions.end(c)
	c.responses.releaseUnwritten()
	c.net.Close()
	c.logEnd(context.Cause(c.ctx))
}

// stop ends the connection without answering pending requests. Only the reason of the first call is kept. stop never
// blocks.
func (c *conn) stop(reason error) { c.cancel(reason) }

// drain makes the connection read no more requests, and end once the requests that it has read are answered. drain
// never blocks.
func (c *conn) drain() {
	c.draining.Store(true)
	c.net.SetReadDeadline(time.Unix(1, 0))
	c.cancelPolls()
}

// read reads frames until the connection ends, and returns the reason. It handles a Produce request itself if all
// earlier requests have been handled, since the Produce handler hardly blocks. It passes every other request to the
// worker, so that the reader notices a disconnect while a Fetch waits for records.
func (c *conn) read() error {
	for {
		f, err := c.readFrame()
		if err != nil {
			if c.draining.Load() {
				return errDraining
			}
			return err
		}
		if f.api.key == keyProduce && c.unhandled.Load() == 0 {
			if err := c.produce(f, c.inlineCommit.allowed(c)); err != nil {
				return err
			}
			continue
		}
		if c.unhandled.Add(1) > 1 {
			select {
			case c.behind <- struct{}{}:
			default: // there is a value
			}
		}
		select {
		case c.queue <- f:
		case <-c.ctx.Done():
			c.releaseFrame(f)
			return context.Cause(c.ctx)
		}
	}
}

// work handles the frames of queue in order until queue is closed. Once the connection has ended, work handles only the
// Produce requests among the remaining frames, because a client that asks for no acknowledgement may disconnect right
// after sending.
func (c *conn) work() {
	for f := range c.queue {
		switch {
		case c.gone() && f.api.key != keyProduce:
			c.releaseFrame(f)
		default:
			if err := c.handle(f); err != nil {
				c.stop(err)
			}
		}
		c.unhandled.Add(-1)
	}
}

// gone reports whether the connection ends without answering further requests, because the client has gone or was refused.
func (c *conn) gone() bool {
	return c.ctx.Err() != nil || c.pollCtx.Err() != nil && !c.draining.Load()
}

// handle handles one request and takes ownership of its frame. An error that the protocol can express is sent in the
// response. A returned error, which matches ErrMalformed or ErrRequestTooLarge, must end the connection.
func (c *conn) handle(f *frame) error {
	switch f.api.key {
	case keyProduce:
		return c.produce(f, false)
	case keyFetch:
		return c.fetch(f)
	}
	defer c.releaseFrame(f)
	switch f.api.key {
	case keyApiVersions:
		return c.apiVersions(f)
	case keySaslHandshake:
		return c.saslHandshake(f)
	case keySaslAuthenticate:
		return c.saslAuthenticate(f)
	}
	maxDecodedBytes := 2*c.server.config.MaxRequestBytes - len(f.buf.Bytes)
	if err := requestLayouts[f.api.key].check(f.body, f.version, maxDecodedBytes); err != nil {
		return err
	}
	req := kmsg.RequestForKey(int16(f.api.key))
	req.SetVersion(f.version)
	// ReadFrom copies strings but not bytes: a handler that keeps bytes must clone them
	if err := req.ReadFrom(f.body); err != nil {
		return errors.Join(ErrMalformed, err)
	}
	if body := c.answer(req, f); body != nil {
		c.responses.send(c.newResponse(f, encodedBody{body}), len(body))
	}
	return nil
}

// answer calls the handler of a request that kmsg has decoded, and returns the encoded response, which it has added to the
// budget. It returns nil if the connection ends before there is room for the response.
func (c *conn) answer(req kmsg.Request, f *frame) (body []byte) {
	switch f.api.key {
	case keyMetadata, keyOffsetFetch, keyDescribeGroups, keyListGroups, keyOffsetForLeaderEpoch, keyDescribeConfigs, keyDescribeLogDirs,
		keyDescribeProducers, keyDescribeTopicPartitions:
		// The response may be many times as large as the request.
		if c.turn = c.takeTurn(); c.turn == nil {
			return nil
		}
		body = c.encode(c.dispatch(req, f))
	case keyJoinGroup, keySyncGroup: // likewise, but their handlers wait
		resp := c.dispatch(req, f)
		if c.turn = c.takeTurn(); c.turn == nil {
			return nil
		}
		body = c.encode(resp)
	default:
		body = c.dispatch(req, f).AppendTo(nil)
		c.server.responseBytes.add(len(body))
		return body
	}
	c.server.giveTurn(c.turn)
	c.turn = nil
	return body
}

// takeTurn blocks until the worker has a turn. It returns nil if nobody waits for the response any more.
func (c *conn) takeTurn() *turn {
	t := c.server.takeTurn(c.pollCtx)
	if t == nil && !c.gone() { // the connection is draining: what it has read is answered
		t = c.server.takeTurn(c.ctx)
	}
	return t
}

// encode returns an encoded response and adds it to the budget. The caller must have a turn.
func (c *conn) encode(resp kmsg.Response) []byte {
	c.turn.scratch = resp.AppendTo(c.turn.scratch[:0])
	body := bytes.Clone(c.turn.scratch)
	c.server.responseBytes.add(len(body))
	return body
}

// dispatch calls the handler of a request that kmsg has decoded, and returns the response.
func (c *conn) dispatch(req kmsg.Request, f *frame) kmsg.Response {
	ctx := c.pollCtx
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
		return c.joinGroup(ctx, r, f)
	case *kmsg.HeartbeatRequest:
		return c.heartbeat(ctx, r)
	case *kmsg.LeaveGroupRequest:
		return c.leaveGroup(ctx, r)
	case *kmsg.SyncGroupRequest:
		return c.syncGroup(ctx, r, f)
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
	case *kmsg.AddPartitionsToTxnRequest:
		return c.addPartitionsToTxn(ctx, r)
	case *kmsg.AddOffsetsToTxnRequest:
		return c.addOffsetsToTxn(ctx, r)
	case *kmsg.EndTxnRequest:
		return c.endTxn(ctx, r)
	case *kmsg.TxnOffsetCommitRequest:
		return c.txnOffsetCommit(ctx, r)
	case *kmsg.DescribeTransactionsRequest:
		return c.describeTransactions(r)
	case *kmsg.ListTransactionsRequest:
		return c.listTransactions(r)
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
	case *kmsg.DescribeACLsRequest:
		return c.describeACLs(r)
	case *kmsg.CreateACLsRequest:
		return c.createACLs(r)
	case *kmsg.DeleteACLsRequest:
		return c.deleteACLs(r)
	case *kmsg.AlterReplicaLogDirsRequest:
		return c.alterReplicaLogDirs(r)
	case *kmsg.DescribeLogDirsRequest:
		return c.describeLogDirs(r)
	case *kmsg.ElectLeadersRequest:
		return c.electLeaders(r)
	case *kmsg.AlterPartitionAssignmentsRequest:
		return c.alterPartitionAssignments(r)
	case *kmsg.ListPartitionReassignmentsRequest:
		return c.listPartitionReassignments(r)
	case *kmsg.DescribeClientQuotasRequest:
		return c.describeClientQuotas(r)
	case *kmsg.AlterClientQuotasRequest:
		return c.alterClientQuotas(r)
	case *kmsg.DescribeUserSCRAMCredentialsRequest:
		return c.describeUserSCRAMCredentials(r)
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		return c.alterUserSCRAMCredentials(r)
	case *kmsg.DescribeQuorumRequest:
		return c.describeQuorum(r)
	case *kmsg.UpdateFeaturesRequest:
		return c.updateFeatures(r)
	case *kmsg.DescribeProducersRequest:
		return c.describeProducers(r)
	case *kmsg.UnregisterBrokerRequest:
		return c.unregisterBroker(r)
	case *kmsg.ListConfigResourcesRequest:
		return c.listConfigResources(r)
	case *kmsg.DescribeTopicPartitionsRequest:
		return c.describeTopicPartitions(r)
	}
	panic("kafka: no handler for " + f.api.name) // cannot happen: a test calls each API in servedAPIs
}

// encodedBody is a response body that a handler has already encoded.
type encodedBody struct{ bytes []byte }

func (b encodedBody) encode(e *responseEncoder, _ int16) { e.attach(b.bytes) }

// send queues a response to f with an encoded body, and writes it if no earlier response waits. The caller must not
// change body afterwards. send blocks as responseWriter.send does.
func (c *conn) send(f *frame, body []byte) {
	c.server.responseBytes.add(len(body))
	c.responses.send(c.newResponse(f, encodedBody{body}), len(body))
}

// newResponse returns a response to f with the body b. The caller passes it to responseWriter.reserve or send. The
// response does not refer to f.
func (c *conn) newResponse(f *frame, b responseBody) *response {
	flexible := f.version >= f.api.flexible
	return &response{
		body: b, correlation: f.correlation, version: f.version, flexible: flexible,
		headerTags: flexible && f.api.key != keyApiVersions,
	}
}

// releaseFrame returns a frame to its pool and its bytes to both budgets. The caller must own f, and must not use it
// afterwards.
func (c *conn) releaseFrame(f *frame) {
	size, budgetedBytes := f.size, f.budgetedBytes
	f.recycle()
	c.releaseBytes(size, budgetedBytes)
}

// releaseBuffer returns the buffer of a frame to its pool and its bytes to both budgets, before a handler blocks for long.
// The caller must own f, and must not use what aliases the buffer afterwards; the header of f stays.
func (c *conn) releaseBuffer(f *frame) {
	size, budgetedBytes := f.size, f.budgetedBytes
	f.buf.Release()
	f.buf, f.clientID, f.body, f.size, f.budgetedBytes = nil, nil, nil, 0, 0
	c.releaseBytes(size, budgetedBytes)
}

// releaseBytes returns to both budgets the bytes that a frame of this size has taken. budgetedBytes are those of the
// server's budget.
func (c *conn) releaseBytes(size, budgetedBytes int) {
	c.server.requestBytes.release(budgetedBytes, size)
	c.frameBytes.release(size)
}

// idle reports whether no request of this connection is being handled and no response waits to be sent.
func (c *conn) idle() bool { return c.unhandled.Load() == 0 && c.responses.empty() }

// logEnd logs that the connection has ended, with the reason. The level is Warn if the client sent a request that the
// server could not read or does not serve, or was too slow, else Debug. The attributes are the record's own, so that
// quietlog knows the peer and the cause.
func (c *conn) logEnd(reason error) {
	level, message := slog.LevelDebug, "connection closed"
	switch {
	case errors.Is(reason, ErrMalformed), errors.Is(reason, ErrRequestTooLarge), errors.Is(reason, ErrUnsupported):
		level, message = slog.LevelWarn, "connection closed: the client sent what cannot be read"
	case errors.Is(reason, errTooSlow), errors.Is(reason, errUnread):
		level, message = slog.LevelWarn, "connection closed: the client is too slow"
	}
	c.server.log.Log(context.Background(), level, message, "client", c.clientHost, "reason", reason)
}

// isTimeout reports whether err says that a deadline of the connection has passed.
func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

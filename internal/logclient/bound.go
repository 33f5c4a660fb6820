package logclient

import (
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dialTimeout bounds how long a connection to a broker takes to come about; it is the default of kgo.
const dialTimeout = 10 * time.Second

// dial opens a connection to a broker over which nothing is sent before it is clear that the log has what it has acknowledged. A
// client of Bound opens none if it has not.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	open := c.config.Dial
	if open == nil {
		open = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	conn, err := open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// kgo does not end a request whose broker does not answer, so the end of Life closes the connection.
	closing := context.AfterFunc(c.life, func() { conn.Close() })
	abandoned := context.AfterFunc(ctx, func() { conn.Close() })
	ids, err := c.acked.check(ctx, conn, c.knownTopics())
	if !abandoned() {
		err = ctx.Err()
	}
	if c.over() {
		err = ErrClosed // whatever the check says then
	}
	if err != nil {
		closing()
		conn.Close()
		return nil, err
	}
	c.forgetOtherTopics(ids)
	looking := newLookingConn(conn, c.passing)
	looking.closing = closing
	return looking, nil
}

// over reports whether the client was closed, or is about to be because the log has lost something.
func (c *Client) over() bool {
	select {
	case <-c.lost: // never, if it is nil
		return true
	case <-c.life.Done():
		return true
	default:
		return false
	}
}

// acknowledged notes that the log has acknowledged a record that was sent after begun, and sets its leader epoch; -1 if that is not known.
// Records of a partition that have the same were appended without a start of the broker in between. Not so if one was acknowledged as the broker
// died, and that is processed after a new connection was checked.
func (c *Client) acknowledged(r *kgo.Record, begun time.Time) {
	_, leader, err := c.producer(r.Topic).PartitionLeader(r.Topic, r.Partition)
	if err != nil {
		leader = -1
	}
	r.LeaderEpoch = c.acked.add(partition{r.Topic, r.Partition}, r.Offset, begun, leader)
}

// HasRead notes that the record at an offset was read from the log, which is of a leader epoch, so that it is found out if the log
// loses it.
func (c *Client) HasRead(topic string, number int32, offset int64, epoch int32) {
	c.acked.addRead(partition{topic, number}, offset, epoch)
}

// Losses returns how often the log was found to have lost something that it had acknowledged.
func (c *Client) Losses() int { return c.acked.count() }

// LostSince reports whether the log has lost the record at an offset that it had acknowledged when Losses returned the number losses.
func (c *Client) LostSince(losses int, topic string, number int32, offset int64) bool {
	return c.acked.lostSince(losses, partition{topic, number}, offset)
}

// Loss returns a channel that is closed when the log is next found to have lost something.
func (c *Client) Loss() <-chan struct{} { return c.acked.loss() }

// Bound returns a client of the same log for what is true only as long as the log has all that it has acknowledged to this client and to
// those that Bound has returned, and all that HasRead was told of. If the log turns out to have lost some of
// that, as when a backup was put in place, the client is closed before it can send anything to the log as it is then, and the next
// call of Bound returns another client. Its Life ends then. The caller must not close it.
func (c *Client) Bound() (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return nil, ErrClosed
	}
	if c.bound != nil && !c.bound.over() {
		return c.bound, nil
	}
	config := c.config
	config.Options = nil
	lost := c.acked.loss()
	bound, err := newClient(config, c)
	if err != nil {
		return nil, err
	}
	bound.lost = lost
	c.bound = bound
	go func() {
		select {
		case <-lost:
		case <-c.life.Done():
		}
		bound.Close()
	}()
	return bound, nil
}

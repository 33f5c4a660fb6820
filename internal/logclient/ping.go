package logclient

import (
	"context"
	"sync"
)

// pings asks the brokers for an answer, with one request at a time for all who wait for one: kgo does not end a request when its context
// ends while a broker has taken the connection and does not answer. The zero value is ready for use.
type pings struct {
	mu      sync.Mutex // protects present
	present *ping      // nil if no request is under way
}

// ping is one request. err is set before done is closed.
type ping struct {
	done chan struct{}
	err  error
}

// ping blocks until a broker answers, the attempt to reach one has failed, or ctx is done.
func (c *Client) ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.pings.mu.Lock()
	p := c.pings.present
	if p == nil {
		p = &ping{done: make(chan struct{})}
		c.pings.present = p
		go func() {
			p.err = c.kgo.Ping(context.Background()) // ended by Close; if its context ends, kgo goes on to the next broker with a request that is still in use
			c.pings.mu.Lock()
			c.pings.present = nil
			c.pings.mu.Unlock()
			close(p.done)
		}()
	}
	c.pings.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return ErrClosed
	}
}

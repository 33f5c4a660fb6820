package logclient

import (
	"context"
	"sync"
	"time"
)

// probe finds out when an outage is over, for producers that wait for that before they pass a record to kgo: kgo may
// not be able to give a record back. While a producer waits, one goroutine asks the brokers again and again.
type probe struct {
	mu      sync.Mutex
	waiters int
	back    chan struct{} // closed when the brokers answer; nil while no producer waits
}

// awaitLog blocks during an outage, until the outage or the timeout is over (0 means no timeout), ctx is done, or the
// client is closed. It reports whether the log answers. Without an outage it returns true at once.
func (c *Client) awaitLog(ctx context.Context, timeout time.Duration) bool {
	if c.outage.lastError() == nil {
		return true
	}
	back := c.probe.enter(c)
	defer c.probe.leave()
	var over <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-back:
		return true
	case <-over:
	case <-ctx.Done():
	case <-c.life.Done():
	}
	return false
}

// Away reports whether the last attempt to connect to the log has failed.
func (c *Client) Away() bool { return c.outage.lastError() != nil }

// enter returns a channel that is closed when the brokers answer. The caller must call leave when it has stopped
// waiting.
func (p *probe) enter(c *Client) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters++
	if p.back == nil {
		p.back = make(chan struct{})
		go p.run(c, p.back)
	}
	return p.back
}

// leave ends a wait that enter began.
func (p *probe) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters--
}

// run asks the brokers until they answer, no producer waits, or the client is closed.
func (p *probe) run(c *Client, back chan struct{}) {
	for c.life.Err() == nil {
		ctx, cancel := context.WithTimeout(c.life, time.Second)
		err := c.kgo.Ping(ctx)
		cancel()
		p.mu.Lock()
		if err == nil || p.waiters == 0 {
			p.back = nil
			p.mu.Unlock()
			if err == nil {
				c.outage.end()
				close(back)
			}
			return
		}
		p.mu.Unlock()
		select {
		case <-time.After(metadataMinAge):
		case <-c.life.Done():
		}
	}
}

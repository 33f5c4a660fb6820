package logclient

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// outage logs when the brokers cannot be reached any more and when they answer again, once each, however many
// connections fail. It is a hook of the kgo clients, which connect again by themselves.
type outage struct {
	log   *slog.Logger
	since atomic.Int64          // start of the outage, as Unix time in nanoseconds; 0 if there is none
	last  atomic.Pointer[error] // error of the last attempt to connect that failed
}

// OnBrokerConnect implements kgo.HookBrokerConnect: kgo calls it after each attempt to connect.
func (o *outage) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		o.end()
		return
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) { // the client was closed meanwhile
		return
	}
	o.last.Store(&err)
	if o.since.CompareAndSwap(0, time.Now().UnixNano()) {
		o.log.Warn("the log cannot be reached; trying until it can", "error", err)
	}
}

// end ends the outage, if there is one, because a broker answers.
func (o *outage) end() {
	if since := o.since.Swap(0); since != 0 {
		o.log.Info("the log is reached again", "after", time.Since(time.Unix(0, since)).Round(time.Millisecond))
	}
}

// lastError returns the error of the last failed attempt to connect, or nil if there is no outage.
func (o *outage) lastError() error {
	if last := o.last.Load(); o.since.Load() != 0 && last != nil {
		return *last
	}
	return nil
}

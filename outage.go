package tidings

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// outage tells the log when an app loses the broker and when it has it back: once each, whatever number of connections
// fail. The clients reconnect by themselves.
type outage struct {
	log   *slog.Logger
	since atomic.Int64 // unix nanoseconds; 0: no outage
}

// OnBrokerConnect is called by kgo after each attempt to connect.
func (o *outage) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		if o.since.CompareAndSwap(0, time.Now().UnixNano()) {
			o.log.Warn("the log cannot be reached; trying until it can", "error", err)
		}
		return
	}
	if since := o.since.Swap(0); since != 0 {
		o.log.Info("the log is reached again", "after", time.Since(time.Unix(0, since)).Round(time.Millisecond))
	}
}

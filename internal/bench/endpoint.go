package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reachTimeout is how long a broker may take to answer the first request of a client.
const reachTimeout = 10 * time.Second

// Endpoint is the address of a Kafka broker and how to connect to it. Seeds is required.
type Endpoint struct {
	Seeds []string // addresses of the form HOST:PORT
	// Dial opens a connection; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Usage returns the resources that the broker's process has used since it began. It is nil if the process is not
	// known.
	Usage func() (Usage, error)
}

// usage returns the resources that the broker's process has used, or nil if they are not known.
func (e Endpoint) usage() *Usage {
	if e.Usage == nil {
		return nil
	}
	u, err := e.Usage()
	if err != nil {
		return nil
	}
	return &u
}

func (e Endpoint) dial(ctx context.Context, address string) (net.Conn, error) {
	if e.Dial != nil {
		return e.Dial(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// Client returns a client, after the broker has answered it. The caller must close the client.
func (e Endpoint) Client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(e.Seeds...), kgo.ClientID("tidings-bench"), kgo.DisableClientMetrics()}
	if e.Dial != nil {
		opts = append(opts, kgo.Dialer(e.Dial))
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no answer from %v: %w", e.Seeds, err)
	}
	return client, nil
}

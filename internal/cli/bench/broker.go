package bench

import (
	"context"
	"net"
	"os"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
)

// remoteBroker is a broker that is already running. Start and Stop do nothing.
type remoteBroker struct{ endpoint bench.Endpoint }

func (r remoteBroker) Start() error             { return nil }
func (r remoteBroker) Stop() error              { return nil }
func (r remoteBroker) Running() bool            { return true }
func (r remoteBroker) Endpoint() bench.Endpoint { return r.endpoint }

// inProcessBroker is a broker in this process, which clients reach through memory.
type inProcessBroker struct {
	config broker.Config
	broker *broker.Broker // nil while the broker is not running
}

func (p *inProcessBroker) Start() (err error) {
	p.broker, err = serve.Open(p.config)
	return err
}

func (p *inProcessBroker) Stop() error {
	if p.broker == nil {
		return nil
	}
	err := p.broker.Close()
	p.broker = nil
	return err
}

func (p *inProcessBroker) Running() bool { return p.broker != nil }

func (p *inProcessBroker) Endpoint() bench.Endpoint {
	b := p.broker
	return bench.Endpoint{Seeds: []string{shell.LocalBroker}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }}
}

// thisProgram returns the path of this program, which benchmarks also start as their server processes.
func thisProgram() (string, error) { return os.Executable() }

package testbed

import (
	"fmt"
	"io"
	"time"

	"tidings.dev/internal/bench"
)

// Broker is a broker in another process, started with `PROGRAM bench serve`. (`tidings serve` would also run an
// indexer, which would be measured as well.) Program, Data and Stderr are required. The methods must not be called
// concurrently, except for the functions in its Endpoint.
type Broker struct {
	Program string    // path of the program tidings, of any release that has `bench serve`
	Data    string    // data directory
	Stderr  io.Writer // receives the stderr of the process

	// Options of the broker, used by the next Start. 0 means the broker's default.
	CheckpointBytes   int64         // bytes of journal between two checkpoints
	RetentionInterval time.Duration // time between two passes of retention

	process *Process // nil while the broker is not running
	address string
}

// BrokerAddress is what `bench serve` passes to Announce.
type BrokerAddress struct {
	Address string `json:"address"`
}

// Start starts the broker and returns when it is listening. The broker must not be running.
func (b *Broker) Start() error {
	var announced BrokerAddress
	p, err := Start(b.Stderr, &announced, b.Program, "bench", "serve", "--data", b.Data,
		"--checkpoint-bytes", fmt.Sprint(b.CheckpointBytes), "--retention-interval", b.RetentionInterval.String())
	b.process, b.address = p, announced.Address
	return err
}

// Stop shuts the broker down in order. If the broker is not running, it does nothing.
func (b *Broker) Stop() error {
	if b.process == nil {
		return nil
	}
	err := b.process.Stop()
	b.process = nil
	return err
}

// Kill kills the broker as in a crash. The broker must be running.
func (b *Broker) Kill() {
	b.process.Kill()
	b.process = nil
}

// Restart stops the broker and starts it again with its current options.
func (b *Broker) Restart() error {
	if err := b.Stop(); err != nil {
		return err
	}
	return b.Start()
}

// Running reports whether the broker was started and was not ended by one of these methods. It does not notice a
// crash.
func (b *Broker) Running() bool { return b.process != nil }

// Endpoint returns the endpoint of the broker, which must be running. The address changes with each Start.
func (b *Broker) Endpoint() bench.Endpoint {
	return bench.Endpoint{Seeds: []string{b.address}, Usage: b.process.Usage}
}

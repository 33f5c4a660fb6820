//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings.dev/internal/bench"
)

// Parameters of the JetStream client. They were the fastest of 128 to 16,384 unacknowledged messages, of pull sizes
// from 1 to 64 MiB, and of the client's defaults, 5,000 and 20,000 messages, and a push consumer.
const (
	natsPending = 4096
	// natsPendingAlways is the maximum number of unacknowledged messages if the server syncs each message, and
	// natsPending the maximum otherwise.
	natsPendingAlways = 1024
	// natsPullBytes is how many bytes a consumer requests ahead.
	natsPullBytes = 8 << 20
)

// natsClient uses JetStream's client: asynchronous publishing, and an ordered consumer, which acknowledges nothing.
type natsClient struct {
	server *process
	js     jetstream.JetStream
	failed atomic.Pointer[error] // first error of an asynchronous publish
}

// startNATS returns a function that starts nats-server with the given sync_interval; "" means the server's default.
func startNATS(sync string) func(context.Context, *setup, peer) (*contender, error) {
	return func(ctx context.Context, s *setup, p peer) (*contender, error) {
		program, err := s.program(ctx, "github.com/nats-io/nats-server/v2", "")
		if err != nil {
			return nil, absent(err)
		}
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		config := filepath.Join(s.dir, p.name+".conf")
		text := fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n", address, filepath.Join(s.dir, p.name))
		if sync != "" {
			text += "  sync_interval: " + sync + "\n"
		}
		if err := os.WriteFile(config, []byte(text+"}\n"), 0o600); err != nil {
			return nil, err
		}
		server, err := startProcess(ctx, address, program, "-c", config)
		if err != nil {
			return nil, err
		}
		c := &natsClient{server: server}
		pending := natsPending
		if sync == "always" {
			pending = natsPendingAlways
		}
		conn, err := natsio.Connect("nats://" + address)
		if err == nil {
			c.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(pending),
				jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *natsio.Msg, err error) { c.failed.CompareAndSwap(nil, &err) }))
		}
		if err != nil {
			return nil, errors.Join(err, server.stop())
		}
		version := strings.TrimPrefix(output(program, "--version"), "nats-server: ")
		return &contender{peer: p, version: version, server: server, client: c}, nil
	}
}

// stream creates a stream with one subject. Both have the given name.
func (c *natsClient) stream(ctx context.Context, name string) error {
	_, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.FileStorage})
	return err
}

func (c *natsClient) fill(ctx context.Context, p plan) error {
	if err := c.stream(ctx, replayed); err != nil {
		return err
	}
	v := newValues(p.recordBytes)
	for n := range p.replayRecords() {
		if err := c.publish(ctx, replayed, v.value(n)); err != nil {
			return err
		}
	}
	return c.settle(ctx)
}

// publish sends one message without waiting for its acknowledgement. It blocks while too many messages are
// unacknowledged.
func (c *natsClient) publish(ctx context.Context, subject string, value []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.failed.Load(); err != nil {
		return *err
	}
	// The client waits for only 200 ms until a message is acknowledged, and then gives up. A server that syncs may
	// need longer.
	for {
		_, err := c.js.PublishAsync(subject, value)
		if !errors.Is(err, jetstream.ErrTooManyStalledMsgs) || ctx.Err() != nil {
			return err
		}
	}
}

// settle waits until all messages are acknowledged.
func (c *natsClient) settle(ctx context.Context) error {
	select {
	case <-c.js.PublishAsyncComplete():
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Minute):
		return fmt.Errorf("%d messages are not acknowledged", c.js.PublishAsyncPending())
	}
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *natsClient) produce(ctx context.Context, p plan) (bench.Measured, error) {
	name := newStream()
	if err := c.stream(ctx, name); err != nil {
		return bench.Measured{}, err
	}
	v := newValues(p.recordBytes)
	var sent atomic.Int64
	acked := func() int64 { return sent.Load() - int64(c.js.PublishAsyncPending()) }
	m, err := counted(ctx, c.server, p, acked, func(sending context.Context) error {
		for sending.Err() == nil {
			if err := c.publish(ctx, name, v.value(sent.Load())); err != nil {
				return err
			}
			sent.Add(1)
		}
		return c.settle(ctx)
	})
	return m, errors.Join(err, c.js.DeleteStream(context.WithoutCancel(ctx), name))
}

func (c *natsClient) one(ctx context.Context, p plan) (bench.Measured, error) {
	name := newStream()
	if err := c.stream(ctx, name); err != nil {
		return bench.Measured{}, err
	}
	v := newValues(p.recordBytes)
	m, err := oneByOne(ctx, c.server, p, func(n int64) error {
		_, err := c.js.Publish(ctx, name, v.value(n))
		return err
	})
	return m, errors.Join(err, c.js.DeleteStream(context.WithoutCancel(ctx), name))
}

func (c *natsClient) replay(ctx context.Context, p plan) (bench.Measured, error) {
	consumer, err := c.js.OrderedConsumer(ctx, replayed, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return bench.Measured{}, err
	}
	return meter(c.server, func() (int64, error) {
		var got int64
		done := make(chan struct{})
		running, err := consumer.Consume(func(m jetstream.Msg) {
			if len(m.Data()) != p.recordBytes {
				return
			}
			if got++; got == p.replayRecords() {
				close(done)
			}
		}, jetstream.PullMaxBytes(natsPullBytes))
		if err != nil {
			return 0, err
		}
		defer running.Stop()
		select {
		case <-done:
			return p.replayRecords(), nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(replayTimeout):
			return 0, fmt.Errorf("%d records did not come in %v", p.replayRecords(), replayTimeout)
		}
	}, p.recordBytes)
}

// replayTimeout is the maximum time for a replay.
const replayTimeout = 5 * time.Minute

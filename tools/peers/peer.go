//go:build linux

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tidings.dev/internal/bench"
)

// peer is a broker with one configuration.
type peer struct {
	name      string
	setting   string // description of the configuration, for the report
	promise   string // what an acknowledgement guarantees in this configuration
	syncs     bool   // an acknowledgement guarantees that the record is on disk
	onRequest bool   // measured only if -only has the name
	start     func(context.Context, *setup, peer) (*contender, error)
}

const tidingsName = "tidings"

// peers are all peers, in the order in which they are measured.
var peers = []peer{
	{name: tidingsName, setting: "defaults; the broker without the story's index", syncs: true,
		promise: "the record is on the disk (fdatasync of the journal, one for all that came meanwhile)", start: startTidings("bench", "serve")},
	{name: "tidings-serve", setting: "tidings serve: with the story's index, which reads every record besides", syncs: true, onRequest: true,
		promise: "the same", start: startTidings("serve")},
	{name: "nats-always", setting: "JetStream, file storage, sync_interval: always", syncs: true,
		promise: "the record is on the disk (a sync for each message)", start: startNATS("always")},
	{name: "nats", setting: "JetStream, file storage, defaults (sync_interval: 2m)",
		promise: "the record was written to the page cache: a power cut may take the last two minutes", start: startNATS("")},
	{name: "redis-always", setting: "Streams, appendonly yes, appendfsync always, no snapshots", syncs: true,
		promise: "the record is on the disk (a sync for each turn of its event loop); all records are in memory besides", start: startRedis},
	{name: "kafka", setting: "Apache Kafka, one node, defaults, acks=all, idempotent, the heap of its own start script (1 GiB)",
		promise: "the record was written to the page cache: a power cut may take whatever the kernel had not yet written", start: startKafka},
}

func names() []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.name)
	}
	return all
}

// contender is a running peer.
type contender struct {
	peer    peer
	version string
	server  *process
	loaded  bench.Usage // usage of the server during the produce row of the current round
	client
}

// client uses a peer in its fastest way. Except for the stream that fill creates, streams are created by the method
// that produces to them and deleted at its end.
type client interface {
	// fill creates the stream that replay reads.
	fill(context.Context, plan) error
	// replay reads the stream of fill with one consumer, from beginning to end.
	replay(context.Context, plan) (bench.Measured, error)
	// produce sends records to a new stream asynchronously, as fast as possible, with one producer.
	produce(context.Context, plan) (bench.Measured, error)
	// one sends one record at a time to a new stream, and waits for each acknowledgement.
	one(context.Context, plan) (bench.Measured, error)
}

// row is one measurement that is taken with all peers in turn.
type row struct {
	name, title string
	run         func(context.Context, *contender, plan) (bench.Measured, error)
	// figure formats the figure for the progress output, and of returns it as a number.
	figure func(bench.Measured) string
	of     func(bench.Measured) float64
	unit   string // unit of the result of of
	// goal returns the goal for the ratio of Tidings to a peer.
	goal func(peer) bench.Goal
}

// ahead is the goal that Tidings is at least as fast as the peer.
func ahead(peer) bench.Goal { return bench.Goal{AtLeast: 1} }

// rows are all rows, in the order in which they are measured.
var rows = []row{
	{
		name: "produce", title: "durable produce: one asynchronous producer",
		run: func(ctx context.Context, c *contender, p plan) (bench.Measured, error) {
			m, err := c.produce(ctx, p)
			if m.Server != nil {
				c.loaded = *m.Server
			}
			return m, err
		},
		figure: recordsPerSecond, of: bench.Measured.RecordsPerSecond, unit: "records_per_s", goal: ahead,
	},
	{
		name: "one", title: "one record at a time, each acknowledged: p50",
		run:    func(ctx context.Context, c *contender, p plan) (bench.Measured, error) { return c.one(ctx, p) },
		figure: func(m bench.Measured) string { return fmt.Sprintf("p50 %.0f µs", 1e6*m.Quantile(0.5)) },
		of:     func(m bench.Measured) float64 { return 1e6 * m.Quantile(0.5) }, unit: "p50_us",
		goal: func(p peer) bench.Goal {
			if p.syncs {
				return bench.Goal{AtMost: 1}
			}
			return bench.Goal{} // a peer that does not sync may be faster
		},
	},
	{
		name: "replay", title: "replay by one consumer",
		run:    func(ctx context.Context, c *contender, p plan) (bench.Measured, error) { return c.replay(ctx, p) },
		figure: recordsPerSecond, of: bench.Measured.RecordsPerSecond, unit: "records_per_s",
		goal: func(p peer) bench.Goal {
			if p.name == "nats" || p.name == "nats-always" {
				return bench.Goal{AtLeast: 2}
			}
			return bench.Goal{AtLeast: 1}
		},
	},
	{
		name: "loaded", title: "memory of the server at the end of that durable produce: resident, in MB (the page cache not counted)",
		run: func(_ context.Context, c *contender, _ plan) (bench.Measured, error) {
			used := bench.Usage{RSSBytes: c.loaded.RSSBytes}
			return bench.Measured{Server: &used}, nil
		},
		figure: megabytes, of: rss, unit: "rss_mb", goal: lean,
	},
	{
		name: "memory", title: "memory of the server at the end of a round, when it has rested: resident, in MB (the page cache not counted)",
		run: func(_ context.Context, c *contender, _ plan) (bench.Measured, error) {
			used, err := c.server.usage()
			return bench.Measured{Server: &used}, err
		},
		figure: megabytes, of: rss, unit: "rss_mb", goal: lean,
	},
}

// lean is the goal that Tidings uses at most as much memory as the peer.
func lean(peer) bench.Goal { return bench.Goal{AtMost: 1} }

func megabytes(m bench.Measured) string { return fmt.Sprintf("%.0f MB", rss(m)) }

func recordsPerSecond(m bench.Measured) string {
	return fmt.Sprintf("%.0f records/s", m.RecordsPerSecond())
}

func rss(m bench.Measured) float64 { return float64(m.Server.RSSBytes) / 1e6 }

// values has record values that do not compress. It takes them from a buffer, without allocating.
type values struct {
	source []byte
	size   int
}

// sourceBytes is the number of positions at which a value can begin.
const sourceBytes = 1 << 20

func newValues(size int) values {
	v := values{source: make([]byte, sourceBytes+size), size: size}
	x := uint64(1)
	for i := range v.source { // xorshift64
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v.source[i] = byte(x >> 32)
	}
	return v
}

func (v values) value(n int64) []byte {
	at := int(n * 8191 % sourceBytes) // 8191 is prime, so consecutive values differ
	return v.source[at : at+v.size : at+v.size]
}

// meter measures the resources that the server and this process use while run runs.
func meter(server *process, run func() (records int64, err error), recordBytes int) (bench.Measured, error) {
	before, err := server.usage()
	if err != nil {
		return bench.Measured{}, fmt.Errorf("the server is gone: %w: %s", err, server.said)
	}
	client, began := bench.SelfUsage(), time.Now()
	records, err := run()
	m := bench.Measured{Records: records, Bytes: records * int64(recordBytes), Elapsed: time.Since(began), Client: bench.SelfUsage()}
	if err != nil {
		return m, err
	}
	m.Client.CPU -= client.CPU
	m.Client.Allocs -= client.Allocs
	m.Client.AllocBytes -= client.AllocBytes
	after, err := server.usage()
	after.CPU -= before.CPU
	m.Server = &after
	return m, err
}

// counted measures how much the counter acked grows in the measured time after the warm-up, while send runs in
// another goroutine. When its context is done, send must stop, wait until everything is acknowledged, and return.
func counted(ctx context.Context, server *process, p plan, acked func() int64, send func(context.Context) error) (bench.Measured, error) {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- send(sending) }()
	var failed error
	sleep := func(d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case failed = <-sent:
			sent <- failed
		}
	}
	sleep(p.warmup)
	m, err := meter(server, func() (int64, error) {
		before := acked()
		if failed == nil {
			sleep(p.duration)
		}
		return acked() - before, nil
	}, p.recordBytes)
	stop()
	if sendErr := <-sent; sendErr != nil {
		return m, sendErr
	}
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	return m, err
}

// oneByOne measures the time of each call of send, after the warm-up. The calls are made one after the other.
func oneByOne(ctx context.Context, server *process, p plan, send func(n int64) error) (bench.Measured, error) {
	hist := &bench.Histogram{}
	var n int64
	until := func(d time.Duration, h *bench.Histogram) error {
		for end := time.Now().Add(d); ctx.Err() == nil; n++ {
			began := time.Now()
			if !began.Before(end) {
				return nil
			}
			if err := send(n); err != nil {
				return err
			}
			h.Record(time.Since(began))
		}
		return context.Cause(ctx)
	}
	if err := until(p.warmup, &bench.Histogram{}); err != nil {
		return bench.Measured{}, err
	}
	m, err := meter(server, func() (int64, error) {
		err := until(p.duration, hist)
		return hist.Count(), err
	}, p.recordBytes)
	m.Latency = hist
	return m, err
}

// streams is the number of streams that newStream has named.
var streams atomic.Int64

func newStream() string { return fmt.Sprintf("measured-%d", streams.Add(1)) }

const replayed = "replayed" // name of the stream that fill creates

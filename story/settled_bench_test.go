package story_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
)

// BenchmarkSettled measures how soon Receipt.Settled returns in a log with many stories. It has 20,000 stories by
// default, which take a minute at most. With a million stories: `TIDINGS_BENCH_STORIES=1000000 go test -run - -bench
// Settled -benchtime 1x -timeout 1h ./story`. It must be run with -benchtime 1x.
//
//	late-p50-ms, late-p99-ms    calls about stories that settled long ago, one after another
//	tail-p50-ms, tail-p99-ms    1000 calls a second, each about an event just emitted: from the time of the fact to the return
//	story-p50-ms, story-p99-ms  the same calls, from the acknowledgement of the event to the return
func BenchmarkSettled(b *testing.B) {
	stories := 20_000
	if n, err := strconv.Atoi(os.Getenv("TIDINGS_BENCH_STORIES")); err == nil {
		stories = n
	}
	conn := embedded.WithoutStory(embedded.File(b.TempDir()))
	x := index(b, conn, filepath.Join(b.TempDir(), "index"), true)
	app, _ := run(b, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(app.Context(context.Background()), time.Hour)
	defer cancel()
	for b.Loop() {
		old := make([]tidings.Receipt, 300)
		for i := range old {
			var err error
			if old[i], err = placed.Emit(ctx, order{"old" + strconv.Itoa(i)}); err != nil {
				b.Fatal(err)
			}
		}
		fill(b, ctx, conn, stories)
		if err := x.WaitSettled(ctx); err != nil {
			b.Fatal(err)
		}
		lateCalls(b, ctx, old)
		tailCalls(b, ctx, conn)
	}
}

// fill produces events, each of which is a story of its own.
func fill(b *testing.B, ctx context.Context, conn tidings.Connection, stories int) {
	cl := client(b, conn, kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000))
	for i := range stories {
		id := "filled-" + strconv.Itoa(i)
		e := cloudevent.Event{ID: id, Type: "test.order.placed", Source: "fill", Subject: "order/" + id, Time: time.Now(), Correlation: id, Data: []byte(`{}`)}
		r := e.Record("orders")
		r.Key = []byte(e.Subject)
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}

// lateCalls calls Settled for stories that have settled, one after another.
func lateCalls(b *testing.B, ctx context.Context, receipts []tidings.Receipt) {
	var took []time.Duration
	for i, receipt := range receipts {
		begun := time.Now()
		if err := receipt.Settled(ctx); err != nil {
			b.Fatal(err)
		}
		if i > 0 { // the first call also makes the app begin to read the facts
			took = append(took, time.Since(begun))
		}
	}
	report(b, "late", took)
}

// tailCalls emits a thousand events a second for five seconds, and calls Settled for each. A story has settled at the
// time in its fact, which the indexer sets before it appends the fact.
func tailCalls(b *testing.B, ctx context.Context, conn tidings.Connection) {
	const rate, calls = 1000, 5000
	var mu sync.Mutex // protects returned and fromEvent
	returned := make(map[string]time.Time, calls)
	var fromEvent []time.Duration
	var all sync.WaitGroup
	begun := time.Now()
	for i := range calls {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / rate)))
		all.Go(func() {
			receipt, err := placed.Emit(ctx, order{fmt.Sprintf("tail%d", i)})
			acknowledged := time.Now()
			if err == nil {
				err = receipt.Settled(ctx)
			}
			if err != nil {
				b.Error(err)
				return
			}
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			returned[receipt.Correlation] = now
			fromEvent = append(fromEvent, now.Sub(acknowledged))
		})
	}
	all.Wait()
	b.ReportMetric(calls/time.Since(begun).Seconds(), "calls/s")
	settled := make(map[string]time.Time, calls)
	cl := client(b, conn, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		obligation.StoryTopic: {0: kgo.NewOffset().AfterMilli(begun.Add(-time.Second).UnixMilli())},
	}))
	for len(settled) < calls {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if f, err := obligation.Decode(r.Value); err == nil {
				if f, ok := f.(*obligation.Settled); ok && !returned[f.Correlation].IsZero() {
					settled[f.Correlation] = f.At
				}
			}
		})
	}
	var late []time.Duration
	for correlation, at := range settled {
		late = append(late, returned[correlation].Sub(at))
	}
	report(b, "tail", late)
	report(b, "story", fromEvent)
}

// report reports the 50th and the 99th percentile of durations.
func report(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	ms := func(part float64) float64 {
		return float64(took[int(float64(len(took)-1)*part)].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0.5), what+"-p50-ms")
	b.ReportMetric(ms(0.99), what+"-p99-ms")
}

// BenchmarkSettledAfterHandlers measures how long it takes from the end of the last handler of a story until Receipt.Settled returns.
// Each of 100 events a second leads to another on a topic of its own, which a second reaction handles; beside them a topic of
// many partitions is written to that no story has to do with, at as many records a second as TIDINGS_BENCH_NOISE says (0). It is
// run with -benchtime 1x.
//
//	after-p50-ms, after-p99-ms    from the end of the last handler to the return
//	requests/story                requests of the indexer for what the log has: ListOffsets and Metadata
func BenchmarkSettledAfterHandlers(b *testing.B) {
	const rate, calls = 100, 1000
	noise, _ := strconv.Atoi(os.Getenv("TIDINGS_BENCH_NOISE"))
	conn := embedded.WithoutStory(embedded.File(b.TempDir()))
	var requests atomic.Int64
	index(b, &countedRequests{conn, &requests}, filepath.Join(b.TempDir(), "index"), true)
	var ended sync.Map // by order, when its last handler has ended
	run(b, conn, "payment", charge)
	run(b, conn, "books", func(a *tidings.App) {
		tidings.React(a, charged, func(_ context.Context, e tidings.Event[order]) error {
			ended.Store(e.Data.No, time.Now())
			return nil
		})
	})
	app, _ := run(b, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(app.Context(context.Background()), 10*time.Minute)
	defer cancel()
	for b.Loop() {
		quietNow, stop := context.WithCancel(ctx)
		var background sync.WaitGroup
		if noise > 0 {
			background.Go(func() { makeNoise(b, quietNow, conn, noise) })
		}
		first, err := placed.Emit(ctx, order{"first"})
		if err == nil {
			err = first.Settled(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		before := requests.Load()
		var mu sync.Mutex // protects took
		var took []time.Duration
		var all sync.WaitGroup
		begun := time.Now()
		for i := range calls {
			time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / rate)))
			all.Go(func() {
				no := strconv.Itoa(i)
				receipt, err := placed.Emit(ctx, order{no})
				if err == nil {
					err = receipt.Settled(ctx)
				}
				now := time.Now()
				at, ok := ended.Load(no)
				if err != nil || !ok {
					b.Errorf("order %s: %v; handled: %t", no, err, ok)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, now.Sub(at.(time.Time)))
			})
		}
		all.Wait()
		b.ReportMetric(float64(requests.Load()-before)/calls, "requests/story")
		report(b, "after", took)
		stop()
		background.Wait()
	}
}

// makeNoise appends records of no interest until ctx is done.
func makeNoise(b *testing.B, ctx context.Context, conn tidings.Connection, rate int) {
	cl := client(b, conn, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MaxBufferedRecords(100_000))
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 50, -1, nil, "noise"); err != nil {
		b.Error(err)
		return
	}
	value := make([]byte, 100)
	for begun, sent := time.Now(), 0; ctx.Err() == nil; {
		for ; sent < int(time.Since(begun).Seconds()*float64(rate)); sent++ {
			cl.Produce(ctx, &kgo.Record{Topic: "noise", Value: value}, nil)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// countedRequests is a connection whose requests of ListOffsets and Metadata are counted.
type countedRequests struct {
	tidings.Connection
	n *atomic.Int64
}

func (c *countedRequests) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := c.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	counted := *link
	counted.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := link.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{conn, c.n}, nil
	}
	return &counted, nil
}

// countedConn counts the requests that are written to it, of which kgo writes each as a whole.
type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	if len(b) >= 6 {
		switch kmsg.Key(binary.BigEndian.Uint16(b[4:])) {
		case kmsg.ListOffsets, kmsg.Metadata:
			c.n.Add(1)
		}
	}
	return c.Conn.Write(b)
}

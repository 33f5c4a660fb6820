package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/bench"
)

// stock is the data of the events of BenchmarkReady.
type stock struct {
	SKU   string `json:"sku"`
	Units int    `json:"units"`
	Pence int    `json:"pence"`
	Note  string `json:"note"`
}

// BenchmarkReady measures how long it takes after the restart of an app until a reaction with a state for each subject is ready: the
// broker runs already, all events are handled, and there is one of each subject. They are 100,000 by default. With a million:
// `TIDINGS_BENCH_SUBJECTS=1000000 go test -run - -bench Ready -benchtime 5x -timeout 1h ./embedded`.
//
//	ready-ms, ready-high-ms    from Open until Ready is closed: the mean, and the longest
//	ready-cpu-ms               processor time of the process meanwhile, with that of the broker
func BenchmarkReady(b *testing.B) {
	subjects := 100_000
	if n, err := strconv.Atoi(os.Getenv("TIDINGS_BENCH_SUBJECTS")); err == nil {
		subjects = n
	}
	received := tidings.Define[stock]("bench.stock.received", tidings.In("stock", tidings.Partitions(4)), tidings.Subject(func(s stock) string { return "sku/" + s.SKU }))
	where := embedded.WithoutStory(embedded.File(b.TempDir()))
	holder, err := where.Connect(b.Context()) // keeps the broker running
	if err != nil {
		b.Fatal(err)
	}
	defer holder.Close()
	type level struct{ units, events int }
	// open runs the app until stop is called, and returns when it is ready.
	open := func(handled *atomic.Int64) (states *tidings.States[level], stop func()) {
		app, err := tidings.Open("stock", where, tidings.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			b.Fatal(err)
		}
		states = tidings.ReactWith(app, tidings.Facts(received), func(l *level, e tidings.Any) {
			if s, ok, err := received.From(e); ok && err == nil {
				l.units, l.events = l.units+s.Data.Units, l.events+1
			}
		}, func(context.Context, level, tidings.Any) error {
			handled.Add(1)
			return nil
		}, tidings.FromBeginning())
		var running sync.WaitGroup
		running.Go(func() {
			if err := app.Run(context.Background()); err != nil {
				b.Error(err)
			}
		})
		<-app.Ready()
		return states, func() {
			if err := app.Close(); err != nil {
				b.Error(err)
			}
			running.Wait()
		}
	}
	emitter, err := tidings.Open("goods", where, tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	ctx := emitter.Context(b.Context())
	for i := range subjects {
		received.EmitAsync(ctx, stock{fmt.Sprint(i), i % 12, i % 1000, "WHITE HANGING HEART T-LIGHT HOLDER"}, func(_ tidings.Receipt, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := emitter.Close(); err != nil {
		b.Fatal(err)
	}
	var handled atomic.Int64
	_, stop := open(&handled)
	for handled.Load() < int64(subjects) {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	handled.Store(0)

	var sum, high, used time.Duration
	n := 0
	for b.Loop() {
		began, before := time.Now(), bench.SelfUsage().CPU
		states, stop := open(&handled)
		took := time.Since(began)
		used += bench.SelfUsage().CPU - before
		if s, ok := states.Get("sku/" + strconv.Itoa(subjects-1)); !ok || s.events != 1 {
			b.Fatalf("the state of the last subject is %+v", s)
		}
		stop()
		sum, high, n = sum+took, max(high, took), n+1
	}
	if handled.Load() > 0 {
		b.Errorf("%d events were handled again", handled.Load())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(n), "ready-ms")
	b.ReportMetric(float64(used.Microseconds())/1000/float64(n), "ready-cpu-ms")
	b.ReportMetric(float64(high.Microseconds())/1000, "ready-high-ms")
}

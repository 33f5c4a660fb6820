package framework

import (
	"context"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// Filling is the number of events that a topic gets, their size, and the number of subjects that they are about.
type Filling struct {
	Events   int64
	Size     int // of an event's JSON in bytes, at least MinBytes
	Subjects int
}

// Fill emits events to a topic, which must exist and be empty, as an app of package tidings does. It returns the bytes
// of the batches that they are in. p may be nil.
func (f Filling) Fill(ctx context.Context, e bench.Endpoint, topic string, log *slog.Logger, p *bench.Progress) (bytes int64, err error) {
	app, err := open("bench-filler", e, log)
	if err != nil {
		return 0, err
	}
	defer app.Close()
	ctx, stop := context.WithCancelCause(app.Context(ctx))
	defer stop(nil)
	fact := placed[order](topic)
	h := &handled{want: f.Events, all: make(chan struct{})}
	p.Counts(h.n.Load)
	for i := range f.Events {
		if ctx.Err() != nil {
			break
		}
		// The factor is prime to the number of subjects unless that is a multiple of it: subjects come evenly, and not in order.
		subject := int(i * 7919 % int64(f.Subjects))
		fact.EmitAsync(ctx, orderOf(subject, f.Size, 0), func(_ tidings.Receipt, err error) {
			if err != nil {
				stop(err)
			}
			h.add(1)
		})
	}
	if err := h.wait(ctx); err != nil {
		return 0, err
	}
	return batchBytes(ctx, e, topic, f.Events)
}

// batchBytes reads a topic of so many events, and returns the bytes of its batches. That also has the topic in the page
// cache when the first round begins.
func batchBytes(ctx context.Context, e bench.Endpoint, topic string, events int64) (int64, error) {
	s := &batchSizes{}
	client, err := e.Client(ctx, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.WithHooks(s))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for read := int64(0); read < events; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := fetchError(fetches); err != nil {
			return 0, err
		}
		read += int64(fetches.NumRecords())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, nil
}

// batchSizes is a hook of kgo that adds the sizes of the batches that are read.
type batchSizes struct {
	mu    sync.Mutex
	bytes int64
}

// batchHead is the size of a batch without its records, which the metrics of kgo leave out.
const batchHead = 61

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (s *batchSizes) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	s.mu.Lock()
	s.bytes += int64(m.CompressedBytes) + batchHead
	s.mu.Unlock()
}

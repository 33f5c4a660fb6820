package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/bench"
)

// Concurrency is the number of handlers that run at the same time where they do some work: the framework's default.
const Concurrency = 16

// Backlog measures reactions that handle a backlog from its beginning, which [Fill] has made. Topic, Events, Bytes,
// Reactions and Log are required.
type Backlog struct {
	Topic  string
	Events int64 // number of events in the topic
	Bytes  int64 // bytes of the batches in the topic

	Reactions int           // reactions of one app, each of which gets every event
	Work      time.Duration // how long a handler sleeps; 0: not at all
	Decode    bool          // whether handlers take a struct that is decoded from JSON, or the JSON as it is
	State     bool          // whether a state is kept for each subject
	EmitTo    string        // topic to which one event of EmitBytes is emitted for each event; "": none
	Log       *slog.Logger  // of the app
}

// EmitBytes is the size of the JSON of an event that a handler emits.
const EmitBytes = 100

// groupName returns a name for an app or a group, which has no position yet.
func groupName() string { return fmt.Sprintf("bench-%016x", rand.Uint64()) }

// handling handles a backlog on a broker and counts in h. It returns when the positions are committed and the groups were
// left.
type handling func(ctx context.Context, e bench.Endpoint, h *handled) error

// measure measures do, one of the two sides. Records and Elapsed are of the time from the first to the last event. CPU time and
// allocations are those of the whole run.
func (b Backlog) measure(ctx context.Context, e bench.Endpoint, p *bench.Progress, do handling) (bench.Measured, error) {
	h := &handled{want: b.Events * int64(b.Reactions), all: make(chan struct{})}
	p.Counts(h.n.Load)
	var m bench.Measured
	f, err := fetchedOf(ctx, e, b.Topic)
	if err != nil {
		return m, err
	}
	debug.FreeOSMemory() // what the run before has left is not of this one
	memory := watchMemory()
	t := bench.StartMeter(e)
	began := time.Now()
	err = do(ctx, f.on(e), h)
	ended := time.Now()
	t.Stop(&m)
	peak := memory.stop()
	if err != nil {
		return m, err
	}
	m.Records, m.Elapsed = h.want, h.last.Sub(h.first)
	m.Bytes = b.Bytes * int64(b.Reactions)
	events := float64(h.want)
	m.Figures = map[string]float64{
		StartMillis:         float64(h.first.Sub(began)) / 1e6,
		EndMillis:           float64(ended.Sub(h.last)) / 1e6,
		CPUMicrosPerEvent:   float64(m.Client.CPU) / 1e3 / events,
		AllocsPerEvent:      float64(m.Client.Allocs) / events,
		ReadBytesPerLogByte: bench.Divide(float64(f.bytes.Load()), float64(m.Bytes)),
		OtherReadMiB:        float64(f.others.Load()) / (1 << 20),
		PeakMiB:             float64(peak) / (1 << 20),
	}
	return m, nil
}

// Names of the figures of a Backlog.
const (
	StartMillis         = "start_ms"                // from the start to the first event
	EndMillis           = "end_ms"                  // from the last event until it is committed and the group was left
	CPUMicrosPerEvent   = "cpu_us_per_event"        // of this process
	AllocsPerEvent      = "allocs_per_event"        // of this process
	ReadBytesPerLogByte = "read_bytes_per_log_byte" // what was fetched from the topic, through the bytes of its batches for each reader
	OtherReadMiB        = "other_read_mib"          // what was fetched from other topics
	EmittedPerEvent     = "emitted_per_event"       // records in the topic of what is emitted, counted by the caller
	PeakMiB             = "peak_rss_mib"            // the most resident memory above that before the run
)

// handled counts the events that were handled.
type handled struct {
	want int64
	n    atomic.Int64
	all  chan struct{} // closed when n has reached want

	first, last  time.Time // when the first event came, and the last one was handled; to be read once all is closed
	begun, ended sync.Once
}

// begin is called before an event is handled.
func (h *handled) begin() { h.begun.Do(func() { h.first = time.Now() }) }

// add counts events that were handled.
func (h *handled) add(n int64) {
	if h.n.Add(n) >= h.want {
		h.ended.Do(func() {
			h.last = time.Now()
			close(h.all)
		})
	}
}

// wait blocks until all events were handled. If ctx is done before that, it returns the cause of ctx.
func (h *handled) wait(ctx context.Context) error {
	select {
	case <-h.all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work is what a handler does besides decoding and emitting.
func (b Backlog) work() {
	if b.Work > 0 {
		time.Sleep(b.Work)
	}
}

// ErrBacklog is the error of a backlog that cannot be measured.
var ErrBacklog = errors.New("impossible backlog")

// Check returns an error that matches ErrBacklog if the settings, apart from what Fill gives, are not valid.
func (b Backlog) Check() error {
	switch {
	case b.Reactions < 1:
		return fmt.Errorf("%w: %d reactions", ErrBacklog, b.Reactions)
	case b.Work < 0:
		return fmt.Errorf("%w: work of %v", ErrBacklog, b.Work)
	}
	return nil
}

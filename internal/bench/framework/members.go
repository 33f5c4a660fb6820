package framework

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"tidings.dev/internal/bench"
)

// Members measures the memory that reactions of one app, or as many consumer groups of a kgo client each, take while they
// wait for events. It is to be run in a process that does nothing else. All fields are required, but Settle.
type Members struct {
	Topic  string
	Events int64 // number of events in the topic, which each reaction has handled before
	Count  int   // number of reactions
	Settle time.Duration
	Log    *slog.Logger // of the app
}

// Resident is the memory of the process in which members wait.
type Resident struct {
	BeforeBytes    int64   `json:"before_bytes"`    // resident before the first member was started
	WaitingBytes   int64   `json:"waiting_bytes"`   // resident while they wait
	CollectedBytes int64   `json:"collected_bytes"` // resident after the garbage was collected and given back
	Goroutines     int     `json:"goroutines"`      // while they wait
	StartSeconds   float64 `json:"start_s"`         // from the start of the first member until the last one had handled the last event
}

// Figures returns the figures of so many members for a report.
func (r Resident) Figures(members int) map[string]float64 {
	each := func(bytes int64) float64 { return float64(bytes-r.BeforeBytes) / 1e6 / float64(members) }
	return map[string]float64{
		MBPerReaction:          each(r.WaitingBytes),
		CollectedMBPerReaction: each(r.CollectedBytes),
		GoroutinesPerReaction:  float64(r.Goroutines) / float64(members),
		StartSeconds:           r.StartSeconds,
	}
}

// Names of the figures of a Resident.
const (
	MBPerReaction          = "rss_mb_per_reaction"           // 10^6 bytes of resident memory above that before
	CollectedMBPerReaction = "rss_mb_per_reaction_collected" // the same, after the garbage was collected and given back
	GoroutinesPerReaction  = "goroutines_per_reaction"
	StartSeconds           = "start_s" // until each has handled what the topic holds
)

// React measures the reactions of an app.
func (m Members) React(ctx context.Context, e bench.Endpoint) (r Resident, err error) {
	began := time.Now()
	r = m.before()
	app, err := open(groupName(), e, m.Log)
	if err != nil {
		return r, err
	}
	h := &handled{want: m.Events * int64(m.Count), all: make(chan struct{})}
	backlog := Backlog{Topic: m.Topic, Decode: true}
	for i := range m.Count {
		backlog.addReaction(app, fmt.Sprintf("%s-%d", app.Name(), i), h)
	}
	err = runApp(ctx, app, func(ctx context.Context) error { return m.wait(ctx, h, began, &r) })
	return r, err
}

// Bare measures consumer groups.
func (m Members) Bare(ctx context.Context, e bench.Endpoint) (r Resident, err error) {
	began := time.Now()
	r = m.before()
	ctx, fail := context.WithCancelCause(ctx)
	var members sync.WaitGroup
	defer members.Wait()
	defer fail(nil)
	h := &handled{want: m.Events * int64(m.Count), all: make(chan struct{})}
	for range m.Count {
		client, err := e.Client(ctx, bareOptions(m.Topic)...)
		if err != nil {
			return r, err
		}
		members.Go(func() {
			defer client.Close()
			if err := consume(ctx, client, func(order) { h.add(1) }); err != nil {
				fail(err)
			}
		})
	}
	err = m.wait(ctx, h, began, &r)
	return r, err
}

// before returns a Resident with the memory before the members are started.
func (m Members) before() Resident {
	debug.FreeOSMemory()
	return Resident{BeforeBytes: bench.SelfUsage().RSSBytes}
}

// wait waits until the members, which were started at a time, have handled all events, and for Settle, and looks at the
// memory.
func (m Members) wait(ctx context.Context, h *handled, began time.Time, r *Resident) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	r.StartSeconds = time.Since(began).Seconds()
	if err := sleepUntil(ctx, now()+int64(m.Settle)); err != nil {
		return err
	}
	r.WaitingBytes, r.Goroutines = bench.SelfUsage().RSSBytes, runtime.NumGoroutine()
	debug.FreeOSMemory()
	r.CollectedBytes = bench.SelfUsage().RSSBytes
	return nil
}

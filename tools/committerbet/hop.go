//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A hop is the time from when an event is sent to when a read_committed consumer receives what a handler has emitted
// because of it. Handlers return at once.

const (
	// hopPerS is the rate in events per second; hopEvents and hopWarmup are the numbers of events that are measured,
	// and sent before; backlog is the number of events that are then sent at once.
	hopPerS   = 200
	hopEvents = 8 * hopPerS
	hopWarmup = 2 * hopPerS
	backlog   = 6000
)

// hopKind is a kind of committer with its settings.
type hopKind struct {
	name     string
	settings settings
}

var hopKinds = []hopKind{
	{"bare", settings{Mode: modeBare}},
	{"A", settings{Mode: modeAtLeastOnce}},
	{"B", settings{Mode: modeTransactions, TxnVersion: 2, AbortLost: true}},
	{"B, overlap", settings{Mode: modeTransactions, TxnVersion: 2, AbortLost: true, Overlap: true}},
	{"B, old protocol", settings{Mode: modeTransactions, TxnVersion: 1, AbortLost: true}},
}

// hopFigures are the results of one measurement. The times instance, broker, backlogInstance and backlogBroker are
// processor time per event.
type hopFigures struct {
	hop             quantiles
	perRound        float64 // events per round
	round           time.Duration
	instance        time.Duration
	broker          time.Duration
	backlogPerS     float64
	backlogInstance time.Duration
	backlogBroker   time.Duration
}

// hop measures all kinds in turn, r.hops times, and prints the results.
func (r *referee) hop(ctx context.Context) error {
	all := make([][]hopFigures, len(hopKinds))
	number := 0
	for range r.hops {
		for at, k := range hopKinds {
			if r.kinds != "" && !strings.Contains(";"+r.kinds+";", ";"+k.name+";") {
				continue
			}
			number++
			k.settings.Address, k.settings.CommitEvery = r.broker.address, commitEvery
			f, err := r.measure(ctx, fmt.Sprint("hop", number), k)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			all[at] = append(all[at], f)
		}
	}
	fmt.Printf("\none instance, %d events/s; medians of %d, and from–to; load average %s\n", hopPerS, r.hops, loadAverage())
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "\thop p50 ms\thop p99 ms\tround ms\tevents/round\tinstance µs/event\tbroker µs/event\tbacklog events/s\tinstance µs/event\tbroker µs/event\t")
	for at, k := range hopKinds {
		if len(all[at]) == 0 {
			continue
		}
		row := func(of func(hopFigures) float64) string { return spread(all[at], of) }
		micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", k.name,
			row(func(f hopFigures) float64 { return milliseconds(f.hop.p50) }),
			row(func(f hopFigures) float64 { return milliseconds(f.hop.p99) }),
			row(func(f hopFigures) float64 { return milliseconds(f.round) }),
			row(func(f hopFigures) float64 { return f.perRound }),
			row(func(f hopFigures) float64 { return micros(f.instance) }),
			row(func(f hopFigures) float64 { return micros(f.broker) }),
			row(func(f hopFigures) float64 { return f.backlogPerS }),
			row(func(f hopFigures) float64 { return micros(f.backlogInstance) }),
			row(func(f hopFigures) float64 { return micros(f.backlogBroker) }))
	}
	return out.Flush()
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg") // for the reader only; may be empty
	return string(b[:min(len(b), 14)])
}

// spread returns the median of a figure, with its lowest and highest value, as text.
func spread(all []hopFigures, of func(hopFigures) float64) string {
	var v []float64
	for _, f := range all {
		v = append(v, of(f))
	}
	slices.Sort(v)
	digits := 1
	if v[len(v)-1] >= 100 {
		digits = 0
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, v[len(v)/2], digits, v[0], digits, v[len(v)-1])
}

// measure measures one kind on topics and a group of its own: first at a constant rate, then with a backlog.
func (r *referee) measure(ctx context.Context, name string, k hopKind) (f hopFigures, err error) {
	t := newTally()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, t)
		}
	}()
	k.settings.Trial = name
	n := namesOf(name)
	if err := n.create(ctx, r.broker.address); err != nil {
		return f, err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	o := &observer{}
	if err := o.start(watched, r.broker.address, n); err != nil {
		return f, err
	}
	p, err := startInstance(k.settings, t)
	if err != nil {
		return f, err
	}
	defer p.quit(t)
	random := newRandom(1)
	send := func(events, perS int) error {
		return feed{events: events, perS: perS, subjects: 300}.run(ctx, r.broker.address, n, random)
	}
	if err := errorsOf(send(hopWarmup, hopPerS), drain(ctx, r.broker.address, n, hopWarmup)); err != nil {
		return f, err
	}
	o.reset()
	before := t.rounds()
	instance, broker := cpuOf(p.cmd.Process.Pid), cpuOf(r.broker.cmd.Process.Pid)
	if err := errorsOf(send(hopEvents, hopPerS), drain(ctx, r.broker.address, n, hopWarmup+hopEvents)); err != nil {
		return f, err
	}
	f.instance = (cpuOf(p.cmd.Process.Pid) - instance) / hopEvents
	f.broker = (cpuOf(r.broker.cmd.Process.Pid) - broker) / hopEvents
	f.hop = quantilesOf(o.reset())
	took := t.rounds()[len(before):]
	f.round, f.perRound = quantilesOf(took).p50, float64(hopEvents)/float64(max(len(took), 1))

	instance, broker = cpuOf(p.cmd.Process.Pid), cpuOf(r.broker.cmd.Process.Pid)
	began := time.Now()
	if err := errorsOf(send(backlog, 0), drain(ctx, r.broker.address, n, hopWarmup+hopEvents+backlog)); err != nil {
		return f, err
	}
	f.backlogPerS = backlog / time.Since(began).Seconds()
	f.backlogInstance = (cpuOf(p.cmd.Process.Pid) - instance) / backlog
	f.backlogBroker = (cpuOf(r.broker.cmd.Process.Pid) - broker) / backlog
	if t.of(noteBroken)+t.of(noteAborted) > 0 {
		return f, fmt.Errorf("it was disturbed:\n%s", t)
	}
	return f, nil
}

// errorsOf returns the first error that is not nil.
func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// rounds returns the durations of all rounds so far.
func (t *tally) rounds() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.took[noteCommitted])
}

// observer is the read_committed consumer at the end of a hop.
type observer struct {
	mu   sync.Mutex
	took []time.Duration
}

// start starts a goroutine that consumes until ctx is done.
func (o *observer) start(ctx context.Context, address string, n names) error {
	begin := make(map[int32]kgo.Offset)
	for p := range int32(derivedPartitions) {
		begin[p] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{n.derived: begin}))
	if err != nil {
		return err
	}
	go func() {
		defer client.Close()
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			now := time.Now().UnixNano()
			o.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				var e emission
				if json.Unmarshal(r.Value, &e) == nil && e.N == 0 && e.Type == "captured" {
					o.took = append(o.took, time.Duration(now-e.Cause.Sent))
				}
			})
			o.mu.Unlock()
		}
	}()
	return nil
}

// reset returns the observed hops and forgets them.
func (o *observer) reset() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	took := o.took
	o.took = nil
	return took
}

package framework

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"tidings.dev/internal/bench"
)

// withTopic calls use with the name of a new topic.
func withTopic(t *testing.T, e bench.Endpoint, use func(topic string)) {
	t.Helper()
	topic := bench.Topic{Name: bench.NewTopicName(), Partitions: 2}
	if err := e.WithTopic(t.Context(), topic, func() error { use(topic.Name); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Case: each side measures what was due in the measured time, all of it and nothing else.
func TestBothSidesMeasureLatency(t *testing.T) {
	e := endpoint(t)
	for side, run := range map[string]Side[Latency]{
		Name: Latency.React, BareKgo: Latency.Bare,
	} {
		withTopic(t, e, func(topic string) {
			l := Latency{Topic: topic, Size: 150, Subjects: 7, Rate: 500, Emitters: 4, Warmup: 100 * time.Millisecond, Duration: 400 * time.Millisecond, Log: slog.Default()}
			m, err := run(l, t.Context(), e, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.Records < 199 || m.Records > 201 || m.Latency.Count() != m.Records || m.Ack.Count() != m.Records {
				t.Errorf("%s: %d events, latencies of %d, acknowledgements of %d; 200 were due", side, m.Records, m.Latency.Count(), m.Ack.Count())
			}
			if m.Latency.Quantile(0.5) <= 0 || m.Latency.Max() > deliveryTimeout {
				t.Errorf("%s: a latency of %v, at most %v", side, m.Latency.Quantile(0.5), m.Latency.Max())
			}
			if _, n, err := e.Describe(t.Context(), topic); err != nil || n < 250 || n > 252 { // 50 in the warmup, and one before
				t.Errorf("%s: %d events in the topic, %v", side, n, err)
			}
		})
	}
}

// Case: a stall of the emitters counts for all events that were due in it.
func TestLatencyCountsFromWhenAnEventWasDue(t *testing.T) {
	l := Latency{Size: 100, Subjects: 1, Rate: 1000, Emitters: 1, Duration: 300 * time.Millisecond}
	handled := &events{}
	stalled := false
	m, err := l.run(t.Context(), bench.Endpoint{}, nil, handled, func(_ context.Context, o order) error {
		if o.Due > 0 && !stalled {
			stalled = true
			time.Sleep(200 * time.Millisecond)
		}
		handled.record(o.Due)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if p50 := m.Latency.Quantile(0.5); p50 < 40*time.Millisecond { // of 300 events 200 were due in the stall and waited for 100 ms at the mean
		t.Errorf("a half of the events waited for at most %v", p50)
	}
	if p50 := m.Ack.Quantile(0.5); p50 < 40*time.Millisecond {
		t.Errorf("a half of the acknowledgements took at most %v", p50)
	}
}

// Case: an event that fails, and one that is never handled.
func TestLatencyFails(t *testing.T) {
	broken := errors.New("broken")
	l := Latency{Size: 100, Subjects: 1, Rate: 1000, Emitters: 2, Duration: time.Minute}
	handled := &events{}
	_, err := l.run(t.Context(), bench.Endpoint{}, nil, handled, func(_ context.Context, o order) error {
		if o.Due > 0 {
			return broken
		}
		handled.record(o.Due)
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("emitting failed, and run returns %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.run(ctx, bench.Endpoint{}, nil, &events{}, func(context.Context, order) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing is handled, and run returns %v", err)
	}
}

// Case: both sides of Emitting count what was acknowledged within the measured time.
func TestBothSidesEmit(t *testing.T) {
	e := endpoint(t)
	for side, run := range map[string]Side[Emitting]{
		Name: Emitting.Emit, BareKgo: Emitting.Bare,
	} {
		withTopic(t, e, func(topic string) {
			b := Emitting{Topic: topic, Size: 150, Subjects: 7, Emitters: 8, Duration: 200 * time.Millisecond, Log: slog.Default()}
			m, err := run(b, t.Context(), e, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, n, err := e.Describe(t.Context(), topic)
			if err != nil || m.Records == 0 || m.Records > n || n > m.Records+2*int64(b.Emitters)+n/2 || m.Latency.Count() == 0 {
				t.Errorf("%s: %d events were acknowledged, %d are in the topic, %v; latencies of %d", side, m.Records, n, err, m.Latency.Count())
			}
		})
	}
}

// Case: members that have handled their events, and the memory that a report tells of each.
func TestMembersWait(t *testing.T) {
	e := endpoint(t)
	b := filled(t, e, 20)
	members := Members{Topic: b.Topic, Events: b.Events, Count: 3, Settle: 10 * time.Millisecond, Log: slog.Default()}
	for side, run := range map[string]func(Members, context.Context, bench.Endpoint) (Resident, error){Name: Members.React, BareKgo: Members.Bare} {
		r, err := run(members, t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if r.BeforeBytes <= 0 || r.WaitingBytes <= 0 || r.CollectedBytes <= 0 || r.Goroutines < 3 || r.StartSeconds <= 0 {
			t.Errorf("%s: %+v", side, r)
		}
	}
	figures := Resident{BeforeBytes: 1e6, WaitingBytes: 4e6, CollectedBytes: 3e6, Goroutines: 20}.Figures(2)
	if figures[MBPerReaction] != 1.5 || figures[CollectedMBPerReaction] != 1 || figures[GoroutinesPerReaction] != 10 {
		t.Errorf("figures %v", figures)
	}
}

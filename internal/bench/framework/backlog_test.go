package framework

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"testing"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

// endpoint starts a broker in this process, which ends with the test.
func endpoint(t *testing.T) bench.Endpoint {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return bench.Endpoint{Seeds: []string{"localhost:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }}
}

// filled returns the Backlog of a new topic with events.
func filled(t *testing.T, e bench.Endpoint, events int64) Backlog {
	t.Helper()
	topic := bench.Topic{Name: bench.NewTopicName(), Partitions: 3}
	if err := e.CreateTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	bytes, err := Filling{Events: events, Size: 200, Subjects: 50}.Fill(t.Context(), e, topic.Name, slog.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if perEvent := bytes / events; perEvent < 200 || perEvent > 1000 {
		t.Errorf("%d events of 200 bytes and some headers take %d bytes each", events, perEvent)
	}
	return Backlog{Topic: topic.Name, Events: events, Bytes: bytes, Reactions: 1, Log: slog.Default()}
}

// Case: what both sides do with each setting. Each reads the log once and emits once for each event.
func TestBothSidesHandleTheBacklog(t *testing.T) {
	e := endpoint(t)
	backlog := filled(t, e, 3000)
	for name, set := range map[string]func(*Backlog){
		"raw":              func(*Backlog) {},
		"struct":           func(b *Backlog) { b.Decode = true },
		"state":            func(b *Backlog) { b.State = true },
		"state of structs": func(b *Backlog) { b.State, b.Decode = true, true },
		"work":             func(b *Backlog) { b.Work, b.State = 50*time.Microsecond, true },
		"emissions":        func(b *Backlog) { b.EmitTo = bench.NewTopicName() },
		"two reactions":    func(b *Backlog) { b.Reactions = 2 },
	} {
		b := backlog
		set(&b)
		for side, run := range map[string]Side[Backlog]{
			Name: Backlog.React, BareKgo: Backlog.Bare,
		} {
			t.Run(name+", "+side, func(t *testing.T) { checkSide(t, e, b, run) })
		}
	}
}

func checkSide(t *testing.T, e bench.Endpoint, b Backlog, run Side[Backlog]) {
	if b.EmitTo != "" {
		if err := e.CreateTopic(t.Context(), bench.Topic{Name: b.EmitTo, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, n, err := e.Describe(t.Context(), b.EmitTo); err != nil || n != b.Events {
				t.Errorf("%d events were emitted, %v; want %d", n, err, b.Events)
			}
			if err := e.DeleteTopic(t.Context(), b.EmitTo); err != nil {
				t.Error(err)
			}
		}()
	}
	m, err := run(b, t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Records != b.Events*int64(b.Reactions) || m.Elapsed <= 0 || m.Client.CPU <= 0 {
		t.Errorf("measured %+v", m)
	}
	if read := m.Figures[ReadBytesPerLogByte]; read < 1 || read > 1.3 {
		t.Errorf("read %g bytes of each of the topic", read)
	}
	for _, figure := range []string{CPUMicrosPerEvent, AllocsPerEvent, StartMillis, EndMillis} {
		if m.Figures[figure] <= 0 {
			t.Errorf("%s is %g", figure, m.Figures[figure])
		}
	}
}

// Case: an event has the size that was asked for.
func TestOrdersAreOfASize(t *testing.T) {
	for _, size := range []int{MinBytes, 100, 1024, MaxBytes} {
		for _, due := range []int64{0, 1, 1e15} {
			data, err := json.Marshal(orderOf(9999, size, due))
			if err != nil || len(data) != size {
				t.Errorf("%d bytes of %d: %v", len(data), size, err)
			}
		}
	}
}

package bench

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// nullEndpoint is a null server of this process with one topic.
func nullEndpoint(t *testing.T, n *NullServer, partitions int) Endpoint {
	t.Helper()
	e := Endpoint{Seeds: []string{"null:9092"}, Dial: n.Dial}
	if err := e.CreateTopic(t.Context(), Topic{Name: "t", Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestProduceCountsWhatIsAcknowledged(t *testing.T) {
	for name, l := range map[string]Load{
		"asynchronous":  {Producers: 2, Buffered: 500},
		"one at a time": {Producers: 2, Emitters: 8, Keys: 100},
		"at a rate":     {Producers: 1, Rate: 2000, Keys: 10},
		"in step":       {Producers: 1, Emitters: 4, Rate: 1000},
		"acks 1":        {Producers: 1, Acks: "1", Compression: "lz4", Text: true, Inflight: 4, Buffered: 500},
		"acks 0":        {Producers: 1, Acks: "0", Rate: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			n := &NullServer{}
			e := nullEndpoint(t, n, 4)
			l.RecordBytes, l.Duration, l.Warmup = 100, 200*time.Millisecond, 20*time.Millisecond
			began := time.Now()
			m, err := Produce{"t", l}.Run(t.Context(), e, &Progress{})
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			_, there, err := e.Describe(t.Context(), "t")
			if err != nil || m.Records == 0 || m.Records > there {
				t.Errorf("%d records measured, %d there: %v", m.Records, there, err)
			}
			// A producer that a slow machine has held up catches up, so the rate is one of the whole run.
			if due := l.Rate*took.Seconds() + 1; l.Rate > 0 && float64(m.Records) > due {
				t.Errorf("%d records in %v, asked for %.0f a second", m.Records, took, l.Rate)
			}
			if m.Latency.Count() == 0 || m.Latency.Max() <= 0 || m.Client.CPU <= 0 {
				t.Errorf("%d latencies, max %v, CPU %v", m.Latency.Count(), m.Latency.Max(), m.Client.CPU)
			}
			keyBytes := int64(0)
			if l.Keys > 0 {
				keyBytes = int64(len("order/00000000"))
			}
			if m.Bytes != m.Records*(100+keyBytes) {
				t.Errorf("%d bytes of %d records", m.Bytes, m.Records)
			}
		})
	}
}

// stallingConn is a connection whose next write waits, once, when it is told to.
type stallingConn struct {
	net.Conn
	stall *atomic.Bool
	d     time.Duration
}

func (c stallingConn) Write(p []byte) (int, error) {
	if c.stall.CompareAndSwap(true, false) {
		time.Sleep(c.d)
	}
	return c.Conn.Write(p)
}

// once calls do when a run has acknowledged so many records.
func once(t *testing.T, p *Progress, acknowledged int64, do func()) {
	ctx := t.Context()
	go func() {
		for ctx.Err() == nil {
			if _, done := p.Now(); done >= acknowledged {
				do()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
}

// Case: at 1,000 records a second everything stands still, for 300 of 400 ms and once until after the end. A tool that
// waited with its client would see one slow record; the truth is that most were late, and so they are counted.
func TestAStallIsFeltByAllRecordsThatWereDueInIt(t *testing.T) {
	for name, c := range map[string]struct {
		load  Load
		stall time.Duration
	}{
		"asynchronous":         {Load{}, 300 * time.Millisecond},
		"one at a time":        {Load{Emitters: 1}, 300 * time.Millisecond},
		"one at a time to end": {Load{Emitters: 1}, 800 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			n, stall := &NullServer{}, &atomic.Bool{}
			e := nullEndpoint(t, n, 1)
			e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := n.Dial(ctx, network, address)
				return stallingConn{conn, stall, c.stall}, err
			}
			l, p := c.load, &Progress{}
			l.RecordBytes, l.Producers, l.Rate, l.Duration = 100, 1, 1000, 400*time.Millisecond
			once(t, p, 20, func() { stall.Store(true) })
			m, err := Produce{"t", l}.Run(t.Context(), e, p)
			if err != nil {
				t.Fatal(err)
			}
			if m.Latency.Count() < 390 {
				t.Errorf("%d records were due, only %d are counted", 400, m.Latency.Count())
			}
			if p75 := m.Latency.Quantile(0.75); p75 < 50*time.Millisecond {
				t.Errorf("p75 is %v: the stall is not felt", p75)
			}
			if m.Latency.Max() < 270*time.Millisecond {
				t.Errorf("max is %v, the stall was %v", m.Latency.Max(), c.stall)
			}
		})
	}
}

func TestLoadsThatMakeNoSense(t *testing.T) {
	e := nullEndpoint(t, &NullServer{}, 1)
	for name, l := range map[string]Load{
		"no size":               {Producers: 1},
		"no producer":           {RecordBytes: 1},
		"idle producers":        {RecordBytes: 1, Producers: 2, Emitters: 1},
		"unknown acks":          {RecordBytes: 1, Producers: 1, Acks: "2"},
		"unknown compression":   {RecordBytes: 1, Producers: 1, Compression: "rar"},
		"a rate below zero":     {RecordBytes: 1, Producers: 1, Rate: -1},
		"emitters below zero":   {RecordBytes: 1, Producers: 1, Emitters: -1},
		"a key count below all": {RecordBytes: 1, Producers: 1, Keys: -1},
	} {
		if _, err := (Produce{"t", l}).Run(t.Context(), e, nil); !errors.Is(err, ErrLoad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, l := range map[string]Load{"no rate": {RecordBytes: 100, Producers: 1}, "no room for the moment": {RecordBytes: 15, Producers: 1, Rate: 1}} {
		if _, err := (EndToEnd{"t", l, 1}).Run(t.Context(), e, nil); !errors.Is(err, ErrLoad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Case: a broker that refuses every record. The run fails with its reason, promptly.
func TestAFailedRecordEndsTheRun(t *testing.T) {
	e := nullEndpoint(t, &NullServer{}, 1)
	l := Load{RecordBytes: 2 << 20, Producers: 1, Emitters: 2, Duration: time.Minute} // larger than the client allows
	if m, err := (Produce{"t", l}).Run(t.Context(), e, nil); err == nil {
		t.Errorf("no error: %+v", m)
	}
}

// muteConn is a connection whose writes get lost when it is told so.
type muteConn struct {
	net.Conn
	mute *atomic.Bool
}

func (c muteConn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Case: ctrl-C in the middle of a run against a server that has stopped to answer.
func TestARunIsCutShort(t *testing.T) {
	n, mute := &NullServer{}, &atomic.Bool{}
	e := nullEndpoint(t, n, 1)
	e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := n.Dial(ctx, network, address)
		return muteConn{conn, mute}, err
	}
	over, p := errors.New("over"), &Progress{}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var cut time.Time
	once(t, p, 1, func() {
		mute.Store(true)
		cut = time.Now()
		cancel(over)
	})
	_, err := Produce{"t", Load{RecordBytes: 10, Producers: 1, Duration: time.Minute}}.Run(ctx, e, p)
	if took := time.Since(cut); !errors.Is(err, over) || took > 10*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

package logclient_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/logclient"
)

// replaceable is a broker on a directory in whose place a copy can be put.
type replaceable struct {
	t      *testing.T
	broker atomic.Pointer[broker.Broker] // nil while it is stopped
}

func (r *replaceable) start(dir string) {
	r.t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		r.t.Fatal(err)
	}
	r.broker.Store(b)
}

func (r *replaceable) stop() {
	r.t.Helper()
	if err := r.broker.Swap(nil).Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *replaceable) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	b := r.broker.Load()
	if b == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return b.Dial(ctx)
}

// TestABoundClientSendsNothingToALogThatHasLostSomething puts a copy of the log in place that lacks what was acknowledged, while a
// record of a bound client waits for the broker. The record must fail; one of the client itself gets into the log. After a plain
// restart, both do.
func TestABoundClientSendsNothingToALogThatHasLostSomething(t *testing.T) {
	for name, lose := range map[string]bool{"restart": false, "copy": true} {
		t.Run(name, func(t *testing.T) {
			r, dir := &replaceable{t: t}, t.TempDir()
			r.start(dir)
			c, err := logclient.New(logclient.Config{Addresses: []string{"tidings:9092"}, Dial: r.dial, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { c.Close(); r.stop() }()
			c.Declare("orders", 1, nil)
			record := func(text string) *kgo.Record { return &kgo.Record{Topic: "orders", Value: []byte(text)} }
			if err := c.ProduceSync(t.Context(), record("kept")); err != nil {
				t.Fatal(err)
			}
			r.stop()
			kept := filepath.Join(t.TempDir(), "kept")
			if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			r.start(dir)
			bound, err := c.Bound()
			if err != nil {
				t.Fatal(err)
			}
			last := record("lost")
			if err := bound.ProduceSync(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			r.stop()
			waits, waitsToo := make(chan error, 1), make(chan error, 1)
			if err := bound.Produce(t.Context(), record("of the past"), func(err error) { waits <- err }); err != nil {
				t.Fatal(err)
			}
			if err := c.Produce(t.Context(), record("of now"), func(err error) { waitsToo <- err }); err != nil {
				t.Fatal(err)
			}
			if lose {
				dir = kept
			}
			r.start(dir)
			if err := <-waits; errors.Is(err, logclient.ErrClosed) != lose || err != nil != lose {
				t.Errorf("the record of the bound client: %v", err)
			}
			if err := <-waitsToo; err != nil {
				t.Errorf("the record of the client: %v", err)
			}
			if got := c.LostSince(0, "orders", 0, last.Offset); got != lose {
				t.Errorf("the second record is lost: %v", got)
			}
			if c.LostSince(0, "orders", 0, 0) || c.LostSince(c.Losses(), "orders", 0, last.Offset) {
				t.Error("a record is lost that the log has, or was acknowledged later")
			}
			if again, err := c.Bound(); err != nil || (again != bound) != lose {
				t.Errorf("another bound client: %v, %v", again != bound, err)
			}
			r.stop()
			r.start(dir)
			if err := c.ProduceSync(t.Context(), record("after another restart")); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 1}[lose]; c.Losses() != want {
				t.Errorf("something was lost %d times, want %d", c.Losses(), want)
			}
			have := 0
			for _, err := range c.ReadAll(t.Context(), "orders", 0) {
				if err != nil {
					t.Fatal(err)
				}
				have++
			}
			if want := map[bool]int{false: 5, true: 3}[lose]; have != want {
				t.Errorf("the log has %d records, want %d", have, want)
			}
		})
	}
}

// TestRecordsOfTwoStartsHaveTwoEpochs appends records before and after a restart of the broker.
func TestRecordsOfTwoStartsHaveTwoEpochs(t *testing.T) {
	r, dir := &replaceable{t: t}, t.TempDir()
	r.start(dir)
	c, err := logclient.New(logclient.Config{Addresses: []string{"tidings:9092"}, Dial: r.dial, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close(); r.stop() }()
	c.Declare("orders", 1, nil)
	epoch := func() int32 {
		t.Helper()
		record := &kgo.Record{Topic: "orders"}
		if err := c.ProduceSync(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		return record.LeaderEpoch
	}
	first, second := epoch(), epoch()
	r.stop()
	r.start(dir)
	third, fourth := epoch(), epoch()
	if first != second || third <= first || fourth != third {
		t.Errorf("epochs %d, %d, and %d, %d after a restart", first, second, third, fourth)
	}
}

// TestALogThatWentAnotherWayHasLostWhatItLacks puts a copy of the log in place to which others have appended since: it is longer than what
// was acknowledged, and its topic "other" was made again.
func TestALogThatWentAnotherWayHasLostWhatItLacks(t *testing.T) {
	r, dir := &replaceable{t: t}, t.TempDir()
	produce := func(c *logclient.Client, topic, text string) (offset int64) {
		t.Helper()
		record := &kgo.Record{Topic: topic, Value: []byte(text)}
		if err := c.ProduceSync(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		return record.Offset
	}
	open := func() *logclient.Client {
		c, err := logclient.New(logclient.Config{Addresses: []string{"tidings:9092"}, Dial: r.dial, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c.Declare("orders", 1, nil)
		return c
	}
	r.start(dir)
	first := open()
	produce(first, "orders", "in both")
	produce(first, "other", "in both")
	first.Close()
	r.stop()
	copied := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r.start(copied)
	others := open()
	for range 10 {
		produce(others, "orders", "in the copy")
	}
	old, err := others.Topic(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(others.Client()).DeleteTopic(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	others.Forget("other")
	made, err := others.Topic(t.Context(), "other")
	if err != nil || made.ID == old.ID {
		t.Fatal(made, err)
	}
	others.Close()
	r.stop()

	c := open()
	defer func() { c.Close(); r.stop() }()
	var lost int64
	for i := range 2 {
		nextSecond()
		r.start(dir)
		for range 2 {
			if at := produce(c, "orders", "not in the copy"); i == 0 {
				lost = at
			}
		}
		if _, err := c.Topic(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		r.stop()
	}
	nextSecond()
	for range 3 {
		r.start(copied)
		produce(c, "orders", "in its place")
		if known, err := c.Topic(t.Context(), "other"); err != nil || known.ID != made.ID {
			t.Errorf("the topic is known as %x, and is %x; %v", known.ID, made.ID, err)
		}
		r.stop()
	}
	r.start(copied)
	produce(c, "orders", "after another restart")
	if c.Losses() != 1 || !c.LostSince(0, "orders", 0, lost) || c.LostSince(0, "orders", 0, 0) {
		t.Errorf("lost %d times; the first %v, what is in both %v", c.Losses(), c.LostSince(0, "orders", 0, lost), c.LostSince(0, "orders", 0, 0))
	}
}

// nextSecond returns when a broker that starts takes a later leader epoch than any did that has started before.
func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

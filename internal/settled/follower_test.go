package settled_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/settled"
)

// connected returns a client of a broker in memory that has the topic tidings.story, and counts how often it dials.
func connected(t *testing.T) (*logclient.Client, *atomic.Int64) {
	t.Helper()
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	dials := new(atomic.Int64)
	lc, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"},
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			return b.Dial(ctx)
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lc.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, topic := range []string{obligation.StoryTopic, obligation.QuestionsTopic} {
		lc.Declare(topic, 1, nil)
		if _, err := lc.Topic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	return lc, dials
}

// following reports whether a goroutine of a follower, or of a kgo client that consumes, is there.
func following() bool {
	stacks := make([]byte, 1<<20)
	all := string(stacks[:runtime.Stack(stacks, true)])
	return strings.Contains(all, "settled.(*Follower).run") || strings.Contains(all, "kgo.(*source).")
}

// waitUntil fails the test if something does not become true.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Whoever asks after Close gets ErrClosed, and nothing is started that nobody would end.
func TestNothingIsStartedAfterClose(t *testing.T) {
	lc, dials := connected(t)
	f := settled.New(lc, true, slog.New(slog.DiscardHandler))
	f.Close()
	before := dials.Load()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // for a follower that waits after all
	defer cancel()
	if err := f.Await(ctx, settled.Event{Correlation: "a"}); !errors.Is(err, logclient.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if following() || dials.Load() != before {
		t.Errorf("after Close something follows: %v, and %d connections were dialled", following(), dials.Load()-before)
	}
}

// Receipts wait while the app is closed: all of them are told, and nothing goes on following.
func TestCloseEndsWaitsThatRaceWithIt(t *testing.T) {
	lc, _ := connected(t)
	for range 20 {
		f := settled.New(lc, true, slog.New(slog.DiscardHandler))
		life, closing := make(chan struct{}), make(chan struct{})
		var waits sync.WaitGroup
		for range 4 {
			waits.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					<-life // stands for the end of the client, which the rounds share
					cancel()
				}()
				<-closing
				err := f.Await(ctx, settled.Event{Correlation: "a", Emitted: time.Now()})
				if !errors.Is(err, logclient.ErrClosed) && !errors.Is(err, context.Canceled) {
					t.Errorf("a wait ended with %v", err)
				}
			})
		}
		close(closing)
		f.Close()
		close(life)
		waits.Wait()
	}
	waitUntil(t, "the last follower has ended", func() bool { return !following() })
	f := settled.New(lc, true, slog.New(slog.DiscardHandler))
	done := make(chan error)
	go func() { done <- f.Await(t.Context(), settled.Event{Correlation: "a", Emitted: time.Now()}) }()
	waitUntil(t, "it follows", following)
	lc.Close()
	if err := <-done; !errors.Is(err, logclient.ErrClosed) {
		t.Errorf("the wait at the end of the client: %v", err)
	}
	f.Close()
}

// The topic of stories is deleted while a receipt waits. It is made again, and what is written there ends the wait.
func TestTheTopicOfStoriesIsDeleted(t *testing.T) {
	lc, _ := connected(t)
	f := settled.New(lc, true, slog.New(slog.DiscardHandler))
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	await := func(correlation string) <-chan error {
		done := make(chan error, 1)
		e := settled.Event{Correlation: correlation, Topic: "orders", Emitted: time.Now()}
		go func() { done <- f.Await(ctx, e) }()
		return done
	}
	settle := func(correlation string) {
		t.Helper()
		fact := &obligation.Settled{Correlation: correlation, Through: []obligation.Position{{Topic: "orders", Offset: 1}}}
		if err := lc.ProduceSync(ctx, &kgo.Record{Topic: fact.RecordTopic(), Key: []byte(fact.Key()), Value: obligation.Encode(fact)}); err != nil {
			t.Fatal(err)
		}
	}
	done, first := await("a"), await("b")
	waitUntil(t, "it follows", following)
	settle("b")
	if err := <-first; err != nil { // it reads the topic by now
		t.Fatal(err)
	}
	before, err := lc.Find(ctx, obligation.StoryTopic)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := kadm.NewClient(lc.Client()).DeleteTopic(ctx, obligation.StoryTopic); err != nil || answer.Err != nil {
		t.Fatal(answer, err)
	}
	waitUntil(t, "the topic is made again", func() bool {
		now, err := lc.Find(ctx, obligation.StoryTopic)
		return err == nil && now.ID != before.ID
	})
	settle("a")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

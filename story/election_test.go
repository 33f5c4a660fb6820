package story_test

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// mortal is the connection of a process that can die: its open network connections then break, and it cannot dial any
// more.
type mortal struct {
	tidings.Connection
	mu    sync.Mutex // protects dead and conns
	dead  bool
	conns []net.Conn
}

func (m *mortal) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := m.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Instance = "" // no instance id, as for a cluster
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.dead {
			return nil, net.ErrClosed
		}
		c, err := dial(ctx, network, address)
		if err == nil {
			m.conns = append(m.conns, c)
		}
		return c, err
	}
	return link, nil
}

// die breaks all connections, and makes later dials fail.
func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for _, c := range m.conns {
		c.Close()
	}
}

// place emits n orders with numbers from first on, and waits until their stories have settled.
func place(t *testing.T, app *tidings.App, first, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(app.Context(t.Context()), 60*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			receipt, err := placed.Emit(ctx, order{strconv.Itoa(first + i)})
			if err == nil {
				err = receipt.Settled(ctx)
			}
			if err != nil {
				t.Errorf("order %d: %v", first+i, err)
			}
		})
	}
	all.Wait()
}

// readAll returns all records of a topic with one partition.
func readAll(t *testing.T, conn tidings.Connection, topic string) (records []*kgo.Record) {
	t.Helper()
	cl := client(t, conn, kgo.ConsumeTopics(topic))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for int64(len(records)) < end.Offset {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// settledOnce fails the test unless tidings.story has exactly one fact about each of n stories.
func settledOnce(t *testing.T, conn tidings.Connection, n int) {
	t.Helper()
	facts := make(map[string]int)
	records := readAll(t, conn, obligation.StoryTopic)
	for _, r := range records {
		facts[string(r.Key)]++
	}
	if len(facts) != n || len(records) != n {
		t.Errorf("%d facts about %d stories, want %d of each", len(records), len(facts), n)
	}
}

// TestOneIndexerIsElected runs three indexers that may emit on one log. Each story must be settled once. When the
// elected indexer dies, and when the next one is closed, another must take over, and settle once each story that is
// open.
func TestOneIndexerIsElected(t *testing.T) {
	t.Parallel()
	conn := embedded.WithoutStory(embedded.Memory())
	first := &mortal{Connection: conn}
	index(t, first, filepath.Join(t.TempDir(), "first"), true)
	app, _ := run(t, conn, "shop", nil)
	place(t, app, 0, 20)

	second, err := story.Open(t.Context(), conn, filepath.Join(t.TempDir(), "second"), story.Options{Emit: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	place(t, app, 20, 200)
	settledOnce(t, conn, 220)

	first.die()
	place(t, app, 220, 20)
	settledOnce(t, conn, 240)

	index(t, conn, filepath.Join(t.TempDir(), "third"), true)
	place(t, app, 240, 20)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	place(t, app, 260, 20)
	settledOnce(t, conn, 280)
}

// TestALateReceiptAsksTheIndexer checks that a receipt whose story settled long ago gets the answer from the indexer,
// because the app has not read the fact itself.
func TestALateReceiptAsksTheIndexer(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), true)
	app, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(app.Context(t.Context()), 60*time.Second)
	defer cancel()
	var receipts []tidings.Receipt
	for i := range 20 {
		receipt, err := placed.Emit(ctx, order{strconv.Itoa(i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.WaitSettled(ctx); err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, receipt)
	}
	for _, receipt := range receipts {
		if err := receipt.Settled(ctx); err != nil {
			t.Errorf("%s: %v", receipt.Correlation, err)
		}
	}
	questions, answers := 0, 0
	for _, r := range readAll(t, conn, obligation.QuestionsTopic) {
		switch f, _ := obligation.Decode(r.Value); f := f.(type) {
		case *obligation.Question:
			questions++
		case *obligation.Answer:
			if answers++; !f.Settled {
				t.Errorf("%s: not settled", f.Correlation)
			}
		}
	}
	if questions < len(receipts) || answers < len(receipts) {
		t.Errorf("%d questions and %d answers for %d receipts", questions, answers, len(receipts))
	}
}

// TestAnIndexThatIsBuiltAnewRepeatsNoFact builds an index anew over a log whose stories have settled, one of them
// twice. The indexer must not append a fact about any of them again.
func TestAnIndexThatIsBuiltAnewRepeatsNoFact(t *testing.T) {
	conn := embedded.WithoutStory(embedded.Memory())
	run(t, conn, "payment", func(a *tidings.App) {
		tidings.React(a, placed, func(ctx context.Context, e tidings.Event[order]) error {
			_, err := captured.Emit(ctx, e.Data)
			return err
		})
	})
	app, _ := run(t, conn, "shop", nil)
	first, err := story.Open(t.Context(), conn, filepath.Join(t.TempDir(), "first"), story.Options{Emit: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx) }()
	place(t, app, 0, 300)
	again := tidings.WithCorrelation(app.Context(t.Context()), "twice")
	for range 2 {
		receipt, err := placed.Emit(again, order{"twice"})
		if err == nil {
			err = receipt.Settled(again)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(readAll(t, conn, obligation.StoryTopic))
	for i := range 3 {
		x, err := story.Open(t.Context(), conn, filepath.Join(t.TempDir(), "anew"), story.Options{Emit: true, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		go func() { done <- x.Run(ctx) }()
		if err := x.WaitSettled(ctx); err != nil {
			t.Fatal(err)
		}
		if s := x.Index().Stats(); s.Settled != int64(301+i) || s.Open != 0 {
			t.Errorf("%+v", s)
		}
		place(t, app, 1000+before, 1) // it settles only if the indexer is elected
		before++
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if now := len(readAll(t, conn, obligation.StoryTopic)); now != before {
			t.Fatalf("%d facts, and %d after an index was built anew and one more story settled", before, now)
		}
	}
}

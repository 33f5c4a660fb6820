package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/kgolink"
	"tidings.dev/story"
)

func connect(t *testing.T, where tidings.Connection) *tidings.Link {
	t.Helper()
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// ping returns nil if a broker answers on the link.
func ping(t *testing.T, link *tidings.Link) error {
	t.Helper()
	cl, err := kgo.NewClient(kgolink.Options(link)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	return cl.Ping(t.Context())
}

// A broker starts with the first link and ends with the last; then the directory is free for another.
func TestABrokerLivesAsLongAsItsLinks(t *testing.T) {
	dir := t.TempDir()
	where := embedded.File(dir)
	first, second := connect(t, where), connect(t, where)
	if first.Instance == "" || first.Instance != second.Instance {
		t.Errorf("instances %q and %q", first.Instance, second.Instance)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := ping(t, second); err != nil {
		t.Errorf("with one link left: %v", err)
	}
	if _, err := embedded.File(dir).Connect(t.Context()); !isLocked(err) {
		t.Errorf("a second broker on the directory: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ping(t, second); err == nil {
		t.Error("the broker answers after its last link was closed")
	}

	again := connect(t, embedded.File(dir))
	defer again.Close()
	if again.Instance != first.Instance {
		t.Errorf("the log's name was %q and is %q", first.Instance, again.Instance)
	}
}

func isLocked(err error) bool {
	_, ok := errors.AsType[*broker.LockedError](err)
	return ok
}

// A broker that the program runs itself outlives the links to it.
func TestABrokerOfTheProgramIsNotClosed(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	app, err := tidings.Open("shop", embedded.Broker(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ping(t, connect(t, embedded.Broker(b))); err != nil {
		t.Error(err)
	}
}

// Each memory is a log of its own, and its configuration can be changed.
func TestMemoriesAreApart(t *testing.T) {
	partitions := tidings.Define[int]("test.count.changed", tidings.In("counts"))
	change := func(c *broker.Config) { c.DefaultPartitions = 1 }
	for range 2 {
		app, err := tidings.Open("shop", embedded.Memory(change))
		if err != nil {
			t.Fatal(err)
		}
		for want := range int64(3) {
			r, err := partitions.Emit(app.Context(t.Context()), 1)
			if err != nil || r.Partition != 0 || r.Offset != want {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A first program waits for a story, and has prepared nothing for it: in memory, and in a directory, also when it is opened
// again. What ends with the last link is the indexer, too: the index file is free.
func TestAStorySettlesWithoutPreparation(t *testing.T) {
	placed := tidings.Define[int]("test.order.placed", tidings.In("orders"))
	dir := t.TempDir()
	for name, where := range map[string]tidings.Connection{"Memory": embedded.Memory(), "File": embedded.File(dir)} {
		for range 2 {
			app, err := tidings.Open("shop", where)
			if err != nil {
				t.Fatal(name, err)
			}
			receipt, err := placed.Emit(app.Context(t.Context()), 1)
			if err != nil {
				t.Fatal(name, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := receipt.Settled(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			if err := app.Close(); err != nil {
				t.Error(name, err)
			}
		}
	}
	x, err := story.OpenIndex(filepath.Join(dir, "story.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if s := x.Stats(); s.Events != 2 {
		t.Errorf("the index of the directory has %+v", s)
	}
}

// A connection without stories runs no indexer: nothing but the broker is in its directory.
func TestWithoutStoryThereIsNoIndexer(t *testing.T) {
	dir := t.TempDir()
	link := connect(t, embedded.WithoutStory(embedded.File(dir)))
	if err := ping(t, link); err != nil {
		t.Fatal(err)
	}
	if err := link.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "story.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an index was made: %v", err)
	}
	if other := tidings.Kafka("localhost"); embedded.WithoutStory(other) == nil {
		t.Error("another connection is lost")
	}
}

// Wrong use is refused by an error that names what is wrong and how to mend it, when an app is opened.
func TestWrongUseIsRefused(t *testing.T) {
	closed, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, c := range []struct {
		name  string
		where tidings.Connection
		words []string // in the text of the error
		is    error    // nil: nothing in particular
	}{
		{"a file without a directory", embedded.File(""), []string{"File", "empty path", "embedded.Memory"}, nil},
		{"a nil change", embedded.Memory(func(*broker.Config) {}, nil), []string{"change 2 of Memory is nil"}, nil},
		{"a change that contradicts", embedded.File(dir, func(c *broker.Config) { c.Memory = true }), []string{"Config.Memory", dir}, nil},
		{"no broker", embedded.Broker(nil), []string{"Broker", "nil", "broker.Open"}, nil},
		{"a closed broker", embedded.Broker(closed), []string{"broker is closed", "broker.Open"}, broker.ErrClosed},
	} {
		app, err := tidings.Open("shop", c.where)
		if err == nil {
			app.Close()
			t.Errorf("%s is not refused", c.name)
			continue
		}
		for _, word := range append(c.words, "embedded") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", c.name, err, word)
			}
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", c.name, err, c.is)
		}
	}
}

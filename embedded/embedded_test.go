package embedded_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
)

func connect(t *testing.T, where tidings.Connection) *tidings.Link {
	t.Helper()
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// ping tells whether a broker answers on the link.
func ping(t *testing.T, link *tidings.Link) error {
	t.Helper()
	cl, err := kgo.NewClient(link.Options()...)
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

package engine

import (
	"context"
	"testing"

	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

var noWait = context.Background()

// openMem opens an engine in a new memory disk that is closed when the test ends. change may set its configuration.
func openMem(t testing.TB, change func(*Config)) *Engine {
	t.Helper()
	c := Config{FS: vfs.NewMem(), JournalFileBytes: 1 << 20}
	if change != nil {
		change(&c)
	}
	return openWith(t, c)
}

func openWith(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && e.Err() == nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func makeTopic(t testing.TB, e *Engine, name string, partitions int32) meta.Topic {
	t.Helper()
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: name, Partitions: partitions}, false)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

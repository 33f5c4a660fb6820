package story_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/story"
)

// TestWrongUseIsRefused checks that wrong use of the package gets an error that says what is wrong.
func TestWrongUseIsRefused(t *testing.T) {
	refused := func(what string, err error, words string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", what, err)
		}
	}
	conn := embedded.WithoutStory(embedded.Memory())
	path := filepath.Join(t.TempDir(), "index")

	// Case: Open without a connection or a path.
	_, err := story.Open(t.Context(), nil, path, story.Options{})
	refused("no connection", err, "without a connection")
	_, err = story.Open(t.Context(), conn, "", story.Options{})
	refused("no path", err, "without a path")
	_, err = story.OpenIndex("", nil)
	refused("no path of an index", err, "path of the index file is empty")

	x, err := story.Open(t.Context(), conn, path, story.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	// Case: an empty key, which is an error and not a key that no story has.
	_, err = x.Index().Find("", 0)
	refused("Find", err, "key is empty")
	_, err = x.Index().Story("", story.Live{})
	refused("Index.Story", err, "key is empty")
	_, err = x.Story(t.Context(), "", nil)
	refused("Indexer.Story", err, "key is empty")

	// Case: Run is called twice. The stories whose facts the first Run was appending would never be judged again.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Run(ctx); err != nil {
		t.Fatal(err)
	}
	refused("a second Run", x.Run(ctx), "Run was called before")

	// Case: calls after Close. Each must return ErrClosed at once.
	for range 2 {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, findErr := x.Index().Find("order/1", 0)
	_, storyErr := x.Index().Story("order/1", story.Live{})
	_, askErr := x.Story(t.Context(), "order/1", nil)
	for what, err := range map[string]error{
		"Find": findErr, "Index.Story": storyErr, "Indexer.Story": askErr, "Apply": x.Index().Apply(nil),
		"Run": x.Run(t.Context()), "CatchUp": x.CatchUp(t.Context(), nil), "WaitSettled": x.WaitSettled(t.Context()),
	} {
		if !errors.Is(err, story.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

// TestOpenOfALogThatDoesNotAnswer opens a log at an address where nothing listens. Open must return an error with the
// address instead of waiting for ever.
func TestOpenOfALogThatDoesNotAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := story.Open(ctx, tidings.Kafka("127.0.0.1:1"), filepath.Join(t.TempDir(), "index"), story.Options{Logger: quiet}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// in place of the connect timeout, which is ten seconds
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := story.Open(ctx, tidings.Kafka("127.0.0.1:1"), filepath.Join(t.TempDir(), "index"), story.Options{Logger: quiet})
	if !errors.Is(err, tidings.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"tidings.dev/story"
)

func (s *session) storyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "story KEY|ID", Short: "Tell what happened, who has reacted and who has not",
		Long: "Tells the story of a subject (order/536365), an event, a correlation or a trace. It keeps an index of the log in the\n" +
			"user's cache directory, so that only the first question takes long.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.tellStory(cmd.Context(), args[0]) },
	}
}

func (s *session) tellStory(ctx context.Context, word string) error {
	t, err := s.target(ctx)
	if err != nil {
		return err
	}
	indexer, discard, err := s.openIndex(ctx, t, story.Options{Logger: s.logger()})
	if err != nil {
		return err
	}
	defer discard()
	told, err := ask(ctx, indexer, word, s.catchUpProgress())
	err = errors.Join(err, indexer.Close())
	if errors.Is(err, story.ErrNotFound) {
		return &Fault{Code: "not_found", Message: fmt.Sprintf("nothing is known of %q", word), Exit: ExitNotFound, Err: err,
			Hint: "ask for a subject such as order/536365, or for the id of an event; `tidings tail` shows both"}
	}
	if err != nil {
		return err
	}
	out := s.output()
	return out.thing(told, func(w io.Writer) error { return writeStory(w, told, out) })
}

// openIndex opens this user's index of a cluster. While another command has it open, one of its own is made, and
// removed by discard.
func (s *session) openIndex(ctx context.Context, t target, options story.Options) (x *story.Indexer, discard func(), err error) {
	adm, err := s.adminOf(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	metadata, err := adm.BrokerMetadata(ctx)
	adm.Close()
	if err != nil {
		return nil, nil, err
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		path := filepath.Join(cache, "tidings", fileName(metadata.Cluster), indexName)
		x, err = story.Open(ctx, t, path, options)
		if err == nil || !errors.Is(err, story.ErrInUse) && !errors.Is(err, os.ErrPermission) {
			return x, func() {}, err
		}
	}
	dir, err := os.MkdirTemp("", "tidings-story-")
	if err != nil {
		return nil, nil, err
	}
	discard = func() { os.RemoveAll(dir) }
	if x, err = story.Open(ctx, t, filepath.Join(dir, indexName), options); err != nil {
		discard()
		return nil, nil, err
	}
	return x, discard, nil
}

// fileName makes any text a file's name.
func fileName(s string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	if name == "" {
		return "unnamed"
	}
	return name
}

// ask lets an indexer work for as long as one question takes.
func ask(ctx context.Context, indexer *story.Indexer, word string, progress func(int64)) (*story.Story, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := indexer.Run(ctx); err != nil {
			cancel(err)
		}
	})
	told, err := indexer.Story(ctx, word, progress)
	if err != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	cancel(nil)
	running.Wait()
	return told, err
}

// catchUpProgress says on a terminal how much of the log the index has still to read; nil elsewhere.
func (s *session) catchUpProgress() func(left int64) {
	watcher := newOutput(s.stderr, formatAuto)
	if !watcher.terminal {
		return nil
	}
	shown := false
	return func(left int64) {
		switch {
		case left > 0:
			fmt.Fprintf(s.stderr, "\r\x1b[Kreading the log: %d records left", left)
			shown = true
		case shown:
			fmt.Fprint(s.stderr, "\r\x1b[K")
			shown = false
		}
	}
}

func writeStory(w io.Writer, told *story.Story, out *output) error {
	return told.Render(w, story.Format{Width: out.width, Color: out.colour})
}

package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/story"
)

// storyFlags are the values of the flags of `tidings story`.
type storyFlags struct {
	limit    int
	all      bool
	payloads bool
}

func storyCommand(s *shell.Session) *cobra.Command {
	var f storyFlags
	cmd := shell.TakesLog(&cobra.Command{
		Use: "story KEY|ID", Short: "Show what happened, who has reacted and who has not",
		Long: "Shows the story of a subject, an event, a correlation or a trace: its events, what each reaction has made of them, and\n" +
			"whether it has settled. A part of a subject will do if nothing else has that name: 536365, or order/5363. The first line\n" +
			"is about all stories of a subject; those that are stuck or otherwise open are shown first, then the newest, and those\n" +
			"that have settled are a line each. An index of the log is kept in the user's cache directory, so that only the first\n" +
			"question reads the whole log; where it cannot be written, also for lack of room, a temporary one is made. Exit code 3:\n" +
			"nothing is known of it.",
		Example: "  tidings story order/536365\n  tidings story customer/17850 --all\n  tidings story order/536365 --payloads",
		Args:    shell.Arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.limit < 1 {
				return shell.Usagef("--all shows all stories", "--limit %d: want at least 1", f.limit)
			}
			if f.all && cmd.Flags().Changed("limit") {
				return shell.Usagef("leave one of them out", "--limit and --all ask for different numbers of stories")
			}
			if f.all {
				f.limit = -1
			}
			return showStory(cmd.Context(), s, args[0], f)
		},
	})
	cmd.Flags().IntVar(&f.limit, "limit", 20, "how many stories of a subject are shown")
	cmd.Flags().BoolVar(&f.payloads, "payloads", false, "also show the payloads of the events")
	cmd.Flags().BoolVar(&f.all, "all", false, "show all stories of a subject")
	return cmd
}

// findStory returns the Story of a key, with mismatches added to its obligations. It has at most limit stories, or
// all if limit is negative. If the key leads to no story, findStory returns a not-found fault.
func findStory(ctx context.Context, s *shell.Session, word string, limit int) (*story.Story, error) {
	t, err := s.Target(ctx)
	if err != nil {
		return nil, err
	}
	var found *story.Story
	err = s.AskIndex(ctx, t, story.Options{Logger: s.Logger()}, func(indexer *story.Indexer) (err error) {
		found, err = find(ctx, indexer, word, limit, catchUpProgress(s))
		return err
	})
	if errors.Is(err, story.ErrNotFound) {
		return nil, &shell.Fault{Code: "not_found", Message: fmt.Sprintf("nothing is known of %q", word), Exit: shell.ExitNotFound, Err: err,
			Hint: "ask for a subject such as order/536365, or for the id of an event; `tidings tail` shows both"}
	}
	if err != nil {
		return nil, err
	}
	conn, err := connectTo(ctx, t)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	return found, conn.addMismatches(ctx, found)
}

// showStory prints the story of a key.
func showStory(ctx context.Context, s *shell.Session, word string, f storyFlags) error {
	found, err := findStory(ctx, s, word, f.limit)
	if err != nil {
		return err
	}
	if f.payloads {
		err = writeStoryWithPayloads(ctx, s, found)
	} else {
		err = shell.WriteStory(s.Output(), found)
	}
	if err != nil {
		return err
	}
	if found.LeftStories > 0 && !s.Output().Format.Machine() {
		s.Note("--all shows all stories, --limit N so many")
	}
	return nil
}

// find runs an indexer until it has read the log, and returns what [story.Indexer.Stories] returns for the key word.
// progress may be nil.
func find(ctx context.Context, indexer *story.Indexer, word string, limit int, progress func(left int64)) (*story.Story, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := indexer.Run(ctx); err != nil {
			cancel(err)
		}
	})
	found, err := indexer.Stories(ctx, word, limit, progress)
	if err != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	cancel(nil)
	running.Wait()
	return found, err
}

// catchUpProgress returns a function that shows on stderr how many records the index has still to read. It returns
// nil if stderr is not a terminal.
func catchUpProgress(s *shell.Session) func(left int64) {
	if !shell.IsTerminal(s.Stderr) {
		return nil
	}
	shown := false
	return func(left int64) {
		switch {
		case left > 0:
			fmt.Fprintf(s.Stderr, "\r\x1b[Kreading the log: %d records left", left)
			shown = true
		case shown:
			fmt.Fprint(s.Stderr, "\r\x1b[K")
			shown = false
		}
	}
}

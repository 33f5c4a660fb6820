package story_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// TestWhatTheLogHasLostUnreadIsNotTakenForHandled removes what a handler has emitted from the log before an index has read it, and while the
// reaction that owes it is down: by DeleteRecords, or by a restart of the broker that had it in memory. The index is made afterwards,
// or was there and had not read it. The story must not settle, and says why, until the reaction is moved past what was removed.
func TestWhatTheLogHasLostUnreadIsNotTakenForHandled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		memory  bool // the topic is in memory, and the broker starts again; if not, records are deleted
		reading bool // an index is there, and does not get to read it
		more    bool // another event comes after what was removed
	}{
		"deleted, index made afterwards":            {},
		"deleted, index behind":                     {reading: true},
		"deleted, index behind, more comes":         {reading: true, more: true},
		"in memory, index made afterwards":          {memory: true},
		"in memory, index made afterwards and more": {memory: true, more: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			dir := t.TempDir()
			s.open(dir)
			if c.memory {
				mode := "memory"
				if _, err := kadm.NewClient(s.client()).CreateTopic(t.Context(), 1, 1, map[string]*string{"tidings.durability": &mode}, "payments"); err != nil {
					t.Fatal(err)
				}
			}
			var booked atomic.Int32
			_, stopPayment := run(t, s, "payment", charge)
			_, stopBooks := run(t, s, "books", book(&booked))
			stopBooks()
			shop, _ := run(t, s, "shop", nil)
			ctx, cancel := context.WithTimeout(shop.Context(t.Context()), time.Minute)
			defer cancel()
			var x *story.Indexer
			var log warnings
			if c.reading {
				x, _ = s.indexing(filepath.Join(t.TempDir(), "index"), &log)
				x.Pause("payments")
			}
			receipt, err := placed.Emit(ctx, order{"1"})
			if err != nil {
				t.Fatal(err)
			}
			marks := awaitMarks(t, ctx, s, "payment")
			stopPayment()
			if c.memory {
				s.stop()
				s.open(dir)
			} else {
				deleteBelow(t, s.client(), "payments")
			}
			if c.more {
				if _, err := charged.Emit(ctx, order{"2"}); err != nil {
					t.Fatal(err)
				}
			}
			if x == nil {
				x, _ = s.indexing(filepath.Join(t.TempDir(), "index"), &log)
			}
			x.Resume("payments")

			const why = "what payment has emitted to topic payments may have been removed before it was read, and books may not have handled it; 1 event, 1 reaction."
			s.tellsUntilAllIsRead(ctx, x, receipt.Correlation, why)
			if n := log.count("story index has missed what was removed"); n != 1 {
				t.Errorf("it is logged %d times that the index has missed something", n)
			}
			end := marks.Through[0].Offset
			seek := &obligation.Seek{Reaction: "books", Topic: "payments", TopicID: marks.Through[0].TopicID, Epoch: 1, To: end}
			if err := s.client().ProduceSync(ctx, &kgo.Record{Topic: seek.RecordTopic(), Key: []byte(seek.Key()), Value: obligation.Encode(seek)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := receipt.Settled(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// tellsUntilAllIsRead waits until stories have settled for which all of the log must be read, several times, and fails the test if the
// story with a correlation has settled by then, or does not say why it has not.
func (s *site) tellsUntilAllIsRead(ctx context.Context, x *story.Indexer, correlation, why string) {
	s.t.Helper()
	for range 3 {
		all, err := returned.Emit(tidings.WithCorrelation(ctx, tidings.NewID()), order{"3"})
		if err == nil {
			err = all.Settled(ctx)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	got, err := x.Story(ctx, correlation, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if got.Standing != story.StandingQuiet || got.IncompleteStories != 1 || !strings.HasSuffix(got.Sentence, why) {
		s.t.Errorf("%s, %d incomplete: %s", got.Standing, got.IncompleteStories, got.Sentence)
	}
}

// TestRetentionOfWhatWasHandledHoldsUpNothing removes what a handler has emitted, and another one has handled, before an index has read it. The
// story settles.
func TestRetentionOfWhatWasHandledHoldsUpNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.open(t.TempDir())
	var booked atomic.Int32
	run(t, s, "payment", charge)
	run(t, s, "books", book(&booked))
	shop, _ := run(t, s, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), time.Minute)
	defer cancel()
	receipt, err := placed.Emit(ctx, order{"1"})
	if err != nil {
		t.Fatal(err)
	}
	awaitMarks(t, ctx, s, "payment")
	awaitMarks(t, ctx, s, "books")
	deleteBelow(t, s.client(), "payments")
	var log warnings
	x, _ := s.indexing(filepath.Join(t.TempDir(), "index"), &log)
	if err := receipt.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := x.Story(ctx, receipt.Correlation, nil)
	if err != nil || got.Standing != story.StandingSettled || got.Events != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

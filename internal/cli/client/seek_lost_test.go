package client

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// lostDoors returns a porter that has handled the doors a, b, d, e and f and goes on failing at c, with an indexer beside the broker,
// after the events up to d were removed from the log. stuck is the receipt of c, the only one of them that was not handled.
func lostDoors(t *testing.T) (s clitest.Program, p *porter, conn connection, stuck tidings.Receipt) {
	t.Helper()
	dir := clitest.Broker(t)
	s = program(t).On(dir)
	following, stop := context.WithCancel(t.Context())
	index := filepath.Join(t.TempDir(), "index")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		story.Follow(following, socket(dir), index, story.Options{Emit: true, Logger: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() { stop(); <-ended })
	p = startPorter(t, dir, "c")
	p.open("a", "b")
	var err error
	shop := openApp(t, "shop", dir) // the receipt is asked when the porter is closed, too
	if stuck, err = doorOpened.Emit(shop.Context(t.Context()), door{Door: "c"}, tidings.ID("c")); err != nil {
		t.Fatal(err)
	}
	p.open("d", "e", "f")
	p.await("a b d e f")
	untilShown(t, s, "porter\tStable\t1\t1\t1", "group", "ls") // behind: c alone
	s.Want(s.Run("story", "door/c"), 0, "stuck")               // the index has read it
	if conn, err = connect(t.Context(), &shell.Session{Data: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.close)
	var below kadm.Offsets
	below.AddOffset("doors", 0, 4, -1)
	if deleted, err := conn.adm.DeleteRecords(t.Context(), below); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	return s, p, conn, stuck
}

// TestASeekAheadJumpsWhatRetentionHasRemoved moves a reaction past an event that retention has removed before it was handled, while the
// reaction runs and while it does not. The plan counts the event as jumped, the story says so and settles, and what was
// done ahead stays done.
func TestASeekAheadJumpsWhatRetentionHasRemoved(t *testing.T) {
	for name, to := range map[string][]string{
		"to the end":           {"--to", "latest"},
		"to the log's start":   {"--to", "earliest"},
		"to what was removed":  {"--to", "0"},
		"back, as far as goes": {"--by=-5"},
	} {
		for _, running := range []bool{false, true} {
			at := map[bool]string{false: ", stopped", true: ", running"}[running]
			t.Run(name+at, func(t *testing.T) {
				s, p, _, stuck := lostDoors(t)
				if !running {
					p.halt()
				}
				target := "4"
				if name == "to the end" {
					target = "6"
				}
				args := append([]string{"group", "seek", "porter", "--topic", "doors"}, to...)
				s.Want(s.Run("story", "door/c"), 0, "porter", "offsets 2–2 fell to retention")
				s.Want(s.Run(args...), 2, "JUMPED\ndoors\t0\t2\t"+target+"\t(lost)\t0\t1\n")
				s.Want(s.Run(append(args, "--yes")...), 0, "(lost)")
				s.Want(s.Run("story", "door/c"), 0, "settled", "skipped", "a seek by")
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := stuck.Settled(ctx); err != nil {
					t.Error(err)
				}
				if !running {
					p = startPorter(t, p.dir)
				}
				p.open("last")
				want := "last"
				if running {
					want = "a b d e f last"
				}
				p.await(want)
				untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
				if p.ids() != want {
					t.Errorf("handled %q, want %q", p.ids(), want)
				}
				p.halt()
			})
		}
	}
}

// TestASeekOfSingleEventsJumpsNothingThatIsLost has an event handled again that lies ahead of one that retention has removed before it was
// handled. The lost one stays lost, and the reaction where it is.
func TestASeekOfSingleEventsJumpsNothingThatIsLost(t *testing.T) {
	s, p, _, _ := lostDoors(t)
	p.halt()
	args := []string{"group", "seek", "porter", "--topic", "doors", "--event", "f"}
	s.Want(s.Run(args...), 2, "JUMPED\ndoors\t0\t2\t2\thome.door.opened\t1\t0\n")
	s.Want(s.Run(append(args, "--yes")...), 0)
	s.Want(s.Run("story", "door/c"), 0, "lost for porter", "offsets 2–2 fell to retention")
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--to", "earliest"), 2, "JUMPED\ndoors\t0\t2\t4\t(lost)\t0\t1\n")
}

// TestASeekWhosePositionHasExpired moves a reaction back that has no position any more, and goes on after its marks.
func TestASeekWhosePositionHasExpired(t *testing.T) {
	s, dir := stuckPorter(t)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	var other kadm.Offsets // a position elsewhere, so that the group is still there
	other.AddOffset(obligation.ReactionsTopic, 0, 0, -1)
	if committed, err := conn.adm.CommitOffsets(t.Context(), "porter", other); err != nil || committed.Error() != nil {
		t.Fatal(err, committed.Error())
	}
	var doors kadm.TopicsSet
	doors.Add("doors", 0)
	if deleted, err := conn.adm.DeleteOffsets(t.Context(), "porter", doors); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	args := []string{"group", "seek", "porter", "--topic", "doors", "--to", "earliest"}
	s.Want(s.Run(args...), 2, "JUMPED\ndoors\t0\t-1\t0\thome.door.opened\t4\t0\n")
	s.Want(s.Run(append(args, "--yes")...), 0)
	p := startPorter(t, dir)
	p.await("a b c d e")
	p.halt()
}

// TestAMoveWithoutAWordBeginsWhereTheReactionDid commits a position by hand for a reaction that has handled nothing, past an event that retention
// has removed. The reaction records where it was moved from.
func TestAMoveWithoutAWordBeginsWhereTheReactionDid(t *testing.T) {
	dir := clitest.Broker(t)
	p := startPorter(t, dir)
	p.open("a", "b")
	p.await("a b")
	p.halt()
	second := openApp(t, "second", dir)
	tidings.React(second, doorOpened, func(context.Context, tidings.Event[door]) error { return nil })
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- second.Run(ctx) }()
		<-second.Ready()
		return func() {
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
		}
	}
	run()()
	shop := openApp(t, "shop", dir)
	for _, id := range strings.Fields("c d") {
		if _, err := doorOpened.Emit(shop.Context(t.Context()), door{Door: id}, tidings.ID(id)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	var at kadm.Offsets
	at.AddOffset("doors", 0, 3, -1)
	if deleted, err := conn.adm.DeleteRecords(t.Context(), at); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	if committed, err := conn.adm.CommitOffsets(t.Context(), "second", at); err != nil || committed.Error() != nil {
		t.Fatal(err, committed.Error())
	}
	second = openApp(t, "second", dir)
	tidings.React(second, doorOpened, func(context.Context, tidings.Event[door]) error { return nil })
	run()()
	var seeks []*obligation.Seek
	for r, err := range conn.log.ReadAll(t.Context(), obligation.ReactionsTopic, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if f, err := obligation.Decode(r.Value); err == nil {
			if seek, ok := f.(*obligation.Seek); ok {
				seeks = append(seeks, seek)
			}
		}
	}
	if len(seeks) != 1 || seeks[0].From != 2 || seeks[0].To != 3 || seeks[0].Who != "unknown" {
		t.Errorf("%+v", seeks)
	}
}

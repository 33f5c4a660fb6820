package client

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// untilShown runs a command line until it prints a text, since what reactions record comes a moment after what they do.
func untilShown(t *testing.T, s clitest.Program, text string, args ...string) clitest.Result {
	t.Helper()
	for deadline := time.Now().Add(6 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r := s.Run(args...)
		if r.Code == 0 && strings.Contains(r.Stdout, text) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing of %q in\n%s%s", text, r.Stdout, r.Stderr)
		}
	}
}

// stuckPorter is runningPorter whose porter was then halted.
func stuckPorter(t *testing.T) (s clitest.Program, dir string) {
	t.Helper()
	s, p, dir := runningPorter(t)
	p.halt()
	return s, dir
}

// runningPorter returns a broker's directory on which the reaction porter has handled the doors a and b, goes on failing at c, and
// has handled d and e ahead of it. Between them are closed doors, which it does not handle.
func runningPorter(t *testing.T) (s clitest.Program, p *porter, dir string) {
	t.Helper()
	dir = clitest.Broker(t)
	s = program(t).On(dir)
	p = startPorter(t, dir, "c")
	p.open("a")
	p.close("a")
	p.open("b", "c")
	p.close("b")
	p.open("d", "e")
	p.await("a b d e")
	untilShown(t, s, "porter\tStable\t1\t1\t1", "group", "ls") // behind: c alone
	return s, p, dir
}

// Case: a stuck event is moved over, back and forth, and what was done ahead of it is handled again only where the plan says so.
func TestASeekDoesWhatItsPlanSays(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		again   string // per type, as the plan has it
		handled string // by the next porter, for which no door is jammed
	}{
		"over the stuck one":         {[]string{"--by", "1"}, "home.door.opened\t0\t1", ""},
		"back by one":                {[]string{"--by=-1"}, "home.door.opened\t3\t0", "b c d e"},
		"back by more than there is": {[]string{"--by=-50"}, "home.door.opened\t4\t0", "a b c d e"},
		"to the start":               {[]string{"--to", "earliest"}, "home.door.opened\t4\t0", "a b c d e"},
		"to the end":                 {[]string{"--to", "latest"}, "home.door.opened\t0\t1", ""},
		"one that is behind":         {[]string{"--event", "a"}, "home.door.opened\t1\t0", "a c"},
		"one that is ahead":          {[]string{"--event", "d"}, "home.door.opened\t1\t0", "c d"},
		"behind and ahead":           {[]string{"--event", "a", "--subject", "door/e"}, "home.door.opened\t2\t0", "a c e"},
		"jump exactly the stuck one": {[]string{"--event", "c", "--jump"}, "home.door.opened\t0\t1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := stuckPorter(t)
			args := append([]string{"group", "seek", "porter", "--topic", "doors"}, c.args...)
			plan := s.Want(s.Run(args...), 2, "TOPIC\tPARTITION\tFROM\tTO\tTYPE\tAGAIN\tJUMPED\n", c.again, "--yes")
			if strings.Count(plan.Stdout, "\n") != 2 {
				t.Errorf("the plan has more than one type and partition: %s", plan.Stdout)
			}
			s.Want(s.Run(append(args, "--yes")...), 0)
			p := startPorter(t, dir)
			p.open("last")
			want := strings.TrimSpace(c.handled + " last")
			p.await(want)
			untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
			if p.ids() != want {
				t.Errorf("handled %q, want %q", p.ids(), want)
			}
			p.halt()
		})
	}
}

// What a seek cannot mean is refused, with what to do, before anything is shown or done.
func TestASeekIsRefused(t *testing.T) {
	s, _ := stuckPorter(t)
	seek := func(args ...string) clitest.Result {
		return s.Run(append([]string{"group", "seek", "porter", "--topic", "doors", "--yes"}, args...)...)
	}
	for name, c := range map[string]struct {
		args  []string
		code  int
		texts []string
	}{
		"seconds":        {[]string{"--to", "1291191960"}, 2, []string{"past the end of partition 0", "at 7", "2010-12-01T08:26:00Z"}},
		"milliseconds":   {[]string{"--to", "1291191960123"}, 2, []string{"2010-12-01T08:26:00.123Z"}},
		"past the end":   {[]string{"--to", "8"}, 2, []string{"past the end of partition 0", "--to latest"}},
		"the future":     {[]string{"--to", "2999-01-01"}, 2, []string{"future"}},
		"nothing":        {nil, 2, []string{"--to", "--by"}},
		"two ways":       {[]string{"--to", "latest", "--by", "1"}, 2, []string{"--to, --by"}},
		"by nothing":     {[]string{"--by", "0"}, 2, []string{"--by=-5"}},
		"jump to":        {[]string{"--to", "latest", "--jump"}, 2, []string{"--jump is for"}},
		"no such event":  {[]string{"--event", "z"}, 3, []string{"no event of z", "tidings tail doors"}},
		"not handled":    {[]string{"--event", "closed-a"}, 3, []string{"handles none", "home.door.opened"}},
		"not done":       {[]string{"--event", "c"}, 1, []string{"done none", "--jump"}},
		"done already":   {[]string{"--event", "a", "--jump"}, 1, []string{"done all"}},
		"no partition 9": {[]string{"--to", "latest", "--partition", "9"}, 3, []string{"partition 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			if r := s.Want(seek(c.args...), c.code, c.texts...); r.Stdout != "" {
				t.Errorf("printed %s", r.Stdout)
			}
		})
	}
	s.Want(s.Run("group", "ls"), 0, "porter\tEmpty\t0\t1\t1")
}

// Case: a person on call looks at a reaction that is stuck, while it runs and when nobody runs it.
func TestGroupShowKnowsWhatIsStuck(t *testing.T) {
	s, dir := stuckPorter(t)
	r := s.Want(s.Run("group", "show", "porter"), 0, "handles on doors: home.door.opened", "needs version 7 or higher", "nobody runs it",
		"stuck: doors/0@3 since ", "failed attempt", errJammed.Error())
	if !strings.Contains(strings.Join(strings.Fields(r.Stdout), " "), "doors 0 3 7 1 1 0") {
		t.Errorf("position 3 of 7, 1 behind, 1 retrying, 0 running is not in\n%s", r.Stdout)
	}
	var d groupDetail
	if err := json.Unmarshal([]byte(s.Want(s.Run("group", "show", "porter", "-o", "json"), 0).Stdout), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Retrying) != 1 || d.Retrying[0].Offset != 3 || d.Retrying[0].Attempts < 1 || d.Retrying[0].Since.IsZero() || d.Needs != "7" {
		t.Errorf("%+v", d)
	}
	var rows []groupSummary
	if err := json.Unmarshal([]byte(s.Want(s.Run("group", "ls", "-o", "json"), 0).Stdout), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Stuck == nil || rows[0].Stuck.Error != errJammed.Error() || rows[0].Behind != 1 {
		t.Errorf("%+v", rows)
	}
	p := startPorter(t, dir)
	p.await("c")
	untilShown(t, s, "porter\tStable\t1\t0\t0\t0\t\t7", "group", "ls")
	p.halt()
}

// A group that is no reaction writes no marks: its seeks count records, and single events cannot be asked for.
func TestSeekOfAGroupThatIsNoReaction(t *testing.T) {
	s, dir := stuckPorter(t)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	offsets := kadm.Offsets{}
	offsets.AddOffset("doors", 0, 5, -1)
	if answers, err := conn.adm.CommitOffsets(t.Context(), "reader", offsets); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	s.Want(s.Run("group", "ls"), 0, "reader\tEmpty\t0\t2\t0")
	s.Want(s.Run("group", "seek", "reader", "--topic", "doors", "--by=-2"), 2, "doors\t0\t5\t3\thome.door.closed\t1\t0", "doors\t0\t5\t3\thome.door.opened\t1\t0")
	s.Want(s.Run("group", "seek", "reader", "--topic", "doors", "--event", "a"), 1, "no reaction")
	s.Want(s.Run("group", "seek", "reader", "--topic", "doors", "--by=-2", "--yes"), 0)
	s.Want(s.Run("group", "ls"), 0, "reader\tEmpty\t0\t4\t0")
}

// Case: stories after seeks of single events. What was not named stays as it was, also what is beyond.
func TestStoriesAfterSeeksOfSingleEvents(t *testing.T) {
	s, dir := stuckPorter(t)
	state := func(id string) string {
		var events []shownEvent
		if err := json.Unmarshal([]byte(s.Want(s.Run("show", id, "-o", "json"), 0).Stdout), &events); err != nil {
			t.Fatal(err)
		}
		o := events[0].Obligations[0]
		return strings.TrimSpace(string(o.State) + " " + o.Reason)
	}
	want := func(states map[string]string) {
		t.Helper()
		for id, want := range states {
			if got := state(id); !strings.HasPrefix(got, want) {
				t.Errorf("%s is %q, want %q", id, got, want)
			}
		}
	}
	want(map[string]string{"a": "handled", "c": "retrying", "d": "handled", "e": "handled", "closed-b": "nobody_listening"})
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--event", "c", "--jump", "--yes"), 0)
	want(map[string]string{"a": "handled", "c": "skipped jumped by", "d": "handled", "e": "handled"})
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--event", "a", "--event", "d", "--yes"), 0)
	want(map[string]string{"a": "waiting", "b": "handled", "c": "skipped jumped by", "d": "waiting", "e": "handled", "closed-b": "nobody_listening"})
	p := startPorter(t, dir)
	p.await("a d")
	untilShown(t, s, "porter\tStable\t1\t0\t0", "group", "ls")
	want(map[string]string{"a": "handled", "b": "handled", "c": "skipped jumped by", "d": "handled", "e": "handled"})
	p.halt()
}

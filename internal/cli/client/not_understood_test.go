package client

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/obligation"
)

// runReaction runs an app until the returned function is called, which also closes the app.
func runReaction(t *testing.T, app *tidings.App) (stop func()) {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- app.Run(t.Context()) }()
	<-app.Ready()
	return func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
}

// showGroup returns what `group show` prints as JSON.
func showGroup(t *testing.T, s clitest.Program, group string) (d groupDetail) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.Want(s.Run("group", "show", group, "-o", "json"), 0).Stdout), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Case: something writes records that claim to be CloudEvents and are not. The group shows how many, and the first and the last, also
// after a restart of the reaction, which counts none twice; retiring the reaction ends it.
func TestGroupShowHasWhatWasNotUnderstood(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors", "-p", "1"), 0)
	write := func(versions ...string) {
		client := kafkaClient(t, dir) // a new one, since the topic may have been made anew
		for _, v := range versions {
			r := &kgo.Record{Topic: "doors", Value: []byte("{}"), Headers: []kgo.RecordHeader{
				{Key: "ce_specversion", Value: []byte(v)}, {Key: "ce_id", Value: []byte("1")}, {Key: "ce_type", Value: []byte("home.door.opened")}}}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(events int64) {
		app := openApp(t, "auditor", dir)
		tidings.React(app, doorOpenedRenamed, func(context.Context, tidings.Event[renamedDoor]) error { return nil }, tidings.FromBeginning())
		stop := runReaction(t, app)
		for deadline := time.Now().Add(time.Minute); app.Stats()["auditor"].NotUnderstood < events; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v", app.Stats())
			}
		}
		stop()
	}
	write("7.0", "8.0", "9.0")
	read(3)
	write("10.0")
	read(1)
	s.Want(s.Run("group", "seek", "auditor", "--topic", "doors", "--to", "earliest", "--yes"), 0)
	read(4)
	d := showGroup(t, s, "auditor")
	if len(d.NotUnderstood) != 1 {
		t.Fatalf("%+v", d.NotUnderstood)
	}
	n := d.NotUnderstood[0]
	if n.Topic != "doors" || n.Count != 4 || n.First.Offset != 0 || !strings.HasSuffix(n.First.Reason, "7.0") || n.Last.Offset != 3 ||
		!strings.HasSuffix(n.Last.Reason, "10.0") || time.Since(n.First.At) > time.Hour {
		t.Errorf("%+v", n)
	}
	s.Want(s.Run("group", "show", "auditor"), 0, "not understood on doors: 4 records", "first doors/0@0 at ", "last doors/0@3 at ", "specversion is not 1.0: 10.0")

	// Case: the topic is made anew. What the earlier one had is not counted any more.
	s.Want(s.Run("topic", "rm", "doors", "--yes"), 0)
	s.Want(s.Run("topic", "create", "doors", "-p", "1"), 0)
	write("11.0", "12.0")
	read(2)
	if d := showGroup(t, s, "auditor"); len(d.NotUnderstood) != 1 || d.NotUnderstood[0].Count != 2 || !strings.HasSuffix(d.NotUnderstood[0].First.Reason, "11.0") {
		t.Errorf("after the topic was made anew: %+v", d.NotUnderstood)
	}

	s.Want(s.Run("group", "retire", "auditor", "--yes"), 0)
	if d := showGroup(t, s, "auditor"); len(d.NotUnderstood) != 0 {
		t.Errorf("after it was retired: %+v", d.NotUnderstood)
	}
}

// Case: an instance writes several times what it has found. Each comparison is counted once.
func TestMismatchesAreCountedOnce(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	porter, shop := openApp(t, "porter", dir), openApp(t, "shop", dir)
	tidings.React(porter, doorOpened, func(context.Context, tidings.Event[door]) error { return nil })
	stop := runReaction(t, porter)
	for n := int64(1); n <= 3; n++ {
		if _, err := doorOpenedRenamed.Emit(shop.Context(t.Context()), renamedDoor{"new", 5}); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if m := showGroup(t, s, "porter").Mismatches; len(m) == 1 && m[0].Compared == n && m[0].Differed == n {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("after %d events: %+v", n, m)
			}
		}
	}
	stop()
	if m := showGroup(t, s, "porter").Mismatches; len(m) != 1 || m[0].Compared != 3 || m[0].Differed != 3 {
		t.Errorf("%+v", m)
	}
}

// Case: a field was renamed. The group shows the mismatch with how many events have it; a later version of the program, whose type has
// the field, removes it, and so does retiring the reaction.
func TestMismatchesHaveCountsAndEnd(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	run := func(reaction string, fact tidings.Definition) (stop func()) {
		app := openApp(t, reaction, dir)
		tidings.ReactWith(app, tidings.Facts(fact), func(_ *int, e tidings.Any) { doorOpened.From(e) }, func(context.Context, int, tidings.Any) error { return nil },
			tidings.FromBeginning())
		stop = runReaction(t, app)
		return stop
	}
	shop := openApp(t, "shop", dir)
	emit := func(n int) {
		for range n {
			if _, err := doorOpenedRenamed.Emit(shop.Context(t.Context()), renamedDoor{"new", 5}); err != nil {
				t.Fatal(err)
			}
		}
	}
	emit(3)
	for _, reaction := range []string{"porter", "guard"} {
		stop := run(reaction, doorOpened)
		untilShown(t, s, "mismatch on doors", "group", "show", reaction)
		stop()
	}
	emit(2)
	run("porter", doorOpened)() // read again from its position: 2 more
	d := showGroup(t, s, "porter")
	if len(d.Mismatches) != 1 {
		t.Fatalf("%+v", d.Mismatches)
	}
	if m := d.Mismatches[0]; m.Topic != "doors" || m.Source != "shop" || m.Compared < 3 || m.Differed != m.Compared {
		t.Errorf("%+v", m)
	}
	s.Want(s.Run("group", "show", "porter"), 0, "mismatch on doors with home.door.opened from shop: events of version 2 have count", " compared events")

	app := openApp(t, "porter", dir) // a later version, which has followed
	tidings.React(app, doorOpenedRenamed, func(context.Context, tidings.Event[renamedDoor]) error { return nil })
	stop := runReaction(t, app)
	for deadline := time.Now().Add(time.Minute); len(showGroup(t, s, "porter").Mismatches) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mismatch stays though the type has the field")
		}
	}
	stop()
	s.Want(s.Run("topic", "show", "doors"), 0, "mismatch of guard")
	s.Want(s.Run("group", "retire", "guard", "--yes"), 0)
	l := readWholeLedger(t, dir)
	if len(l.fields) != 0 {
		t.Errorf("%+v", l.fields)
	}
}

// Case: an app that emitted a fact on another topic is gone. After 30 days it is no longer named.
func TestAnAppThatIsGoneIsNotNamedForEver(t *testing.T) {
	now := time.Now()
	l := &ledger{emits: map[string]*obligation.Emission{}, subs: obligation.Subscriptions{}, ids: map[string]obligation.TopicID{"a": {1}, "b": {2}}}
	for _, e := range []*obligation.Emission{{App: "gone", Type: "x.happened", Topic: "a", At: now.Add(-29 * 24 * time.Hour)}, {App: "here", Type: "x.happened", Topic: "b", At: now}} {
		l.emits[e.Key()] = e
	}
	if f := l.splitOf("b", now); len(f) != 1 {
		t.Errorf("%+v", f)
	}
	if f := l.splitOf("b", now.Add(2*24*time.Hour)); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// readWholeLedger returns the ledger of the broker in a directory.
func readWholeLedger(t *testing.T, dir string) *ledger {
	t.Helper()
	conn := testConnection(t, dir)
	l, err := conn.readLedger(t.Context(), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

package client

import (
	"context"
	"strings"
	"testing"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cli/clitest"
)

// A reaction is retired by type, by topic, and as a whole; a subscription that does not exist is refused with those that do.
func TestGroupRetire(t *testing.T) {
	data := t.TempDir()
	app, err := tidings.Open("loyalty", embedded.File(data))
	if err != nil {
		t.Fatal(err)
	}
	define := func(name, topic string) *tidings.Fact[map[string]string] {
		return tidings.Define[map[string]string](name, tidings.In(topic))
	}
	nothing := func(context.Context, tidings.Event[map[string]string]) error { return nil }
	for _, f := range []*tidings.Fact[map[string]string]{define("home.door.opened", "doors"), define("home.door.closed", "doors"), define("home.window.opened", "windows")} {
		tidings.React(app, f, nothing)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	<-app.Ready()
	s := program(t).On(data)
	s.Want(s.Run("group", "retire", "loyalty", "--type", "home.door.closed"), 2, "doors\thome.door.closed\thome.door.opened\t1", "--yes")
	s.Want(s.Run("group", "retire", "loyalty", "--type", "home.door.closed", "--yes"), 0)
	s.Want(s.Run("group", "retire", "loyalty", "--type", "home.door.closed", "--yes"), 3, "doors: home.door.opened; windows: home.window.opened")
	s.Want(s.Run("group", "retire", "loyalty", "--topic", "windows", "--yes"), 0, "windows\thome.window.opened")
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	s.Want(s.Run("group", "retire", "loyalty", "--yes", "-o", "json"), 0, `"topic": "doors"`, `"running": 0`)
	s.Want(s.Run("group", "retire", "loyalty", "--yes"), 3, `no reaction "loyalty"`)
	s.Want(s.Run("group", "retire", "nobody", "--yes"), 3, `no reaction "nobody"`)
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// Case: a version of the program has no handler any more for a type of event, and a later one has it again. What was handled stays
// handled, what was not is retired, and events from in between have nobody, in an index that is built anew, too.
func TestAVersionWithoutAHandler(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	run := func(version string, closed bool) (stop func()) {
		app, err := tidings.Open("porter", socket(dir), tidings.AppVersion(version))
		if err != nil {
			t.Fatal(err)
		}
		tidings.React(app, doorOpened, func(context.Context, tidings.Event[door]) error { return nil })
		if closed {
			tidings.React(app, doorClosed, func(_ context.Context, e tidings.Event[door]) error {
				if e.ID == "stuck" {
					return errJammed
				}
				return nil
			})
		}
		return runReaction(t, app)
	}
	shop := openApp(t, "shop", dir)
	emit := func(id string) {
		t.Helper()
		if _, err := doorClosed.Emit(shop.Context(t.Context()), door{Door: id}, tidings.ID(id)); err != nil {
			t.Fatal(err)
		}
	}
	stories := func(indexed string, want map[string]string) {
		t.Helper()
		for id, text := range want {
			untilShown(t, s, text, "story", id)
			if t.Failed() {
				t.Errorf("%s: story %s", indexed, id)
			}
		}
	}
	stop := run("1", true)
	emit("fine")
	emit("stuck")
	stories("at first", map[string]string{"fine": "1 event, 1 reaction.", "stuck": "retrying, "})
	stop()
	emit("late")
	stop = run("2", false)
	emit("between")
	want := map[string]string{"fine": "✓ porter", "stuck": "○ porter", "late": "○ porter", "between": "nobody listening"}
	stories("without the handler", want)
	s.Want(s.Run("story", "fine"), 0, "1 event, 1 reaction.")
	s.Want(s.Run("story", "late"), 0, "retired")
	stop()
	stop = run("3", true)
	defer stop()
	emit("again")
	want["again"], want["between"] = "1 event, 1 reaction.", "joined later"
	stories("with the handler again", want)
	for id, text := range map[string]string{"fine": "1 event, 1 reaction.", "stuck": "retired", "late": "retired"} {
		if r := s.Want(s.Run("story", id), 0, text); strings.Contains(r.Stdout, "joined later") {
			t.Errorf("%s: %s", id, r.Stdout)
		}
	}
}

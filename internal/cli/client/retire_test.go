package client

import (
	"context"
	"testing"

	"tidings.dev"
	"tidings.dev/embedded"
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

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// renamedDoor is a door as a service has it that has renamed a field.
type renamedDoor struct {
	Door  string `json:"door"`
	Count int64  `json:"count"`
}

var doorOpenedRenamed = tidings.Define[renamedDoor]("home.door.opened", tidings.In("doors", tidings.Partitions(1)), tidings.Version(2),
	tidings.Subject(func(d renamedDoor) string { return "door/" + d.Door }))

// openApp opens an app on the broker of a directory, until the test ends.
func openApp(t *testing.T, name, dir string) *tidings.App {
	t.Helper()
	app, err := tidings.Open(name, tidings.Socket(filepath.Join(dir, broker.SocketName)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.Close() })
	return app
}

// Case: a service renames a field, and the porter reads a zero. The topic and the story of such an event have it, and that of an
// event of the earlier version, or of another reaction, has not.
func TestARenamedFieldIsShown(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	p := startPorter(t, dir)
	auditor := openApp(t, "auditor", dir)
	tidings.React(auditor, doorOpenedRenamed, func(context.Context, tidings.Event[renamedDoor]) error { return nil })
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- auditor.Run(ctx) }()
	<-auditor.Ready()

	p.open("old")
	shop := openApp(t, "shop", dir)
	if _, err := doorOpenedRenamed.Emit(shop.Context(t.Context()), renamedDoor{"new", 5}, tidings.ID("new")); err != nil {
		t.Fatal(err)
	}
	p.await("new old")
	untilShown(t, s, "mismatch of porter", "topic", "show", "doors")
	untilShown(t, s, "mismatch of auditor", "topic", "show", "doors")
	p.halt()
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}

	const words = "events of version 2 have count, which it does not read, and lack n, which it reads (found 20"
	s.Want(s.Run("topic", "show", "doors"), 0, "mismatch of porter with home.door.opened from shop: "+words,
		"mismatch of auditor with home.door.opened from porter: events of version 1 have n, which it does not read, and lack count")
	var d topicDetail
	if err := json.Unmarshal([]byte(s.Want(s.Run("topic", "show", "doors", "-o", "json"), 0).Stdout), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Mismatches) != 2 || len(d.Split) != 0 {
		t.Fatalf("%+v", d)
	}
	if m := d.Mismatches[1]; m.Reaction != "porter" || m.Type != "home.door.opened" || m.Source != "shop" || m.Version != 2 ||
		!reflect.DeepEqual(m.Unknown, []string{"count"}) || !reflect.DeepEqual(m.Missing, []string{"n"}) || time.Since(m.At) > time.Hour {
		t.Errorf("%+v", m)
	}

	lines := strings.Split(s.Want(s.Run("story", "new"), 0).Stdout, "\n")
	for i, line := range lines {
		if strings.Contains(line, "≠") && (!strings.Contains(line, words) || !strings.Contains(lines[i-1], "✓ porter")) {
			t.Errorf("below %q: %q", lines[i-1], line)
		}
	}
	for id, who := range map[string]string{"new": "porter", "old": "auditor"} {
		if r := s.Want(s.Run("story", id), 0); strings.Count(r.Stdout, "≠") != 1 {
			t.Errorf("%s: %s", id, r.Stdout)
		}
		s.Want(s.Run("show", id), 0, "which it does not read")
		var found story.Story
		if err := json.Unmarshal([]byte(s.Want(s.Run("story", id, "-o", "json"), 0).Stdout), &found); err != nil {
			t.Fatal(err)
		}
		for _, o := range found.Roots[0].Obligations {
			if (o.Mismatch != nil) != (o.Reaction == who) {
				t.Errorf("%s: %s: %+v", id, o.Reaction, o.Mismatch)
			}
		}
		if len(found.Roots[0].Obligations) != 2 {
			t.Errorf("%s: %+v", id, found.Roots[0].Obligations)
		}
	}

	// Case: the topic is deleted and made again, and an event of the version is where that one was, of which nothing is known.
	s.Want(s.Run("topic", "rm", "doors", "--yes"), 0)
	s.Want(s.Run("topic", "create", "doors", "-p", "1"), 0)
	again := openApp(t, "porter", dir)
	if _, err := doorOpened.Emit(again.Context(t.Context()), door{Door: "again"}, tidings.ID("again")); err != nil {
		t.Fatal(err)
	}
	if r := s.Want(s.Run("story", "old"), 0, "✓ auditor"); strings.Contains(r.Stdout, "≠") {
		t.Error(r.Stdout)
	}
}

// Case: two services have one fact on different topics, and one of them also listens.
func TestAFactOnTwoTopicsIsShown(t *testing.T) {
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	p := startPorter(t, dir)
	p.open("1")
	other := openApp(t, "gate", dir)
	fact := tidings.Define[door]("home.door.opened", tidings.In("gates", tidings.Partitions(1)), tidings.Subject(doorSubject))
	if _, err := fact.Emit(other.Context(t.Context()), door{Door: "2"}); err != nil {
		t.Fatal(err)
	}
	const words = "home.door.opened is emitted to doors by app porter, handled on doors by reaction porter and emitted to gates by app gate: nobody sees"
	untilShown(t, s, words, "topic", "show", "doors")
	untilShown(t, s, words, "topic", "show", "gates")
	var d topicDetail
	if err := json.Unmarshal([]byte(s.Want(s.Run("topic", "show", "gates", "-o", "json"), 0).Stdout), &d); err != nil {
		t.Fatal(err)
	}
	want := []splitFact{{"home.door.opened", []factPlace{{"doors", []string{"porter"}, []string{"porter"}}, {"gates", []string{"gate"}, []string{}}}}}
	if !reflect.DeepEqual(d.Split, want) {
		t.Errorf("%+v", d.Split)
	}

	// Case: the other topic is deleted, and with it the difference.
	p.halt()
	s.Want(s.Run("topic", "rm", "gates", "--yes"), 0)
	if r := s.Want(s.Run("topic", "show", "doors"), 0, "emitted by porter"); strings.Contains(r.Stdout, "gates") {
		t.Error(r.Stdout)
	}
}

// What a retired reaction has found is not shown, and of several records of one key the last counts.
func TestMismatchesOfATopic(t *testing.T) {
	l := &ledger{subs: make(obligation.Subscriptions), fields: make(map[string]*obligation.Mismatch)}
	for _, m := range []*obligation.Mismatch{
		{Reaction: "b", Type: "x", Topic: "t", Version: 1, Source: "s", Missing: []string{"old"}},
		{Reaction: "b", Type: "x", Topic: "t", Version: 1, Source: "s", Missing: []string{"new"}},
		{Reaction: "a", Type: "x", Topic: "t", Version: 1, Source: "s", Missing: []string{"f"}},
		{Reaction: "gone", Type: "x", Topic: "t", Version: 1, Source: "s", Missing: []string{"f"}},
		{Reaction: "a", Type: "x", Topic: "other", Version: 2, Source: "s", Missing: []string{"f"}},
	} {
		l.add(m, func(string) bool { return true })
	}
	sub := &obligation.Subscription{Reaction: "gone", Topic: "t", Retired: true}
	l.subs.Add(sub.Key(), obligation.Encode(sub), nil)
	found := l.mismatchesOf("t")
	if len(found) != 2 || found[0].Reaction != "a" || found[1].Reaction != "b" || !reflect.DeepEqual(found[1].Missing, []string{"new"}) {
		t.Errorf("%+v", found)
	}
}

// Events are read in few passes, each partition at most once in a pass, and none that the log does not have.
func TestPassesOverTheEventsOfAStory(t *testing.T) {
	events := make(placedEvents)
	for _, at := range []struct {
		partition int32
		offset    int64
	}{{0, 4}, {0, 10}, {0, 11}, {0, 1011}, {0, 2012}, {0, 5000}, {1, 7}, {2, 1}} {
		events.add(&story.Event{Topic: "t", Partition: at.partition, Offset: at.offset})
	}
	starts := logclient.Offsets{"t": {0: 5, 1: 0, 2: 0}}
	ends := logclient.Offsets{"t": {0: 5000, 1: 8, 2: 0}}
	got := fmt.Sprint(events.passes(starts, ends))
	want := fmt.Sprint([]pass{
		{logclient.Offsets{"t": {0: 10, 1: 7}}, logclient.Offsets{"t": {0: 1012, 1: 8}}},
		{logclient.Offsets{"t": {0: 2012}}, logclient.Offsets{"t": {0: 2013}}},
	})
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

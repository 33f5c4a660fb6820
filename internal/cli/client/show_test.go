package client

import (
	"encoding/json"
	"strings"
	"testing"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
)

// Case: an event is looked at, with a payload whose number no float holds and whose bytes are not what an encoder would write.
func TestShowOfAnEvent(t *testing.T) {
	const payload = `{"n": 9007199254740993,  "door":"<7>"}`
	dir := clitest.Broker(t)
	s := program(t).On(dir)
	s.Want(s.Run("topic", "create", "doors", "-p", "1"), 0)
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	emit := func(id, typ, data string) {
		e := cloudevent.Event{ID: id, Type: typ, Source: "test", Subject: "door/7", Data: []byte(data)}
		if err := conn.log.ProduceSync(t.Context(), e.Record("doors")); err != nil {
			t.Fatal(err)
		}
	}
	emit("one", "home.door.opened", payload)
	emit("one", "home.door.closed", `{"second":true}`)
	emit("two", "home.door.locked", payload)
	s.Want(s.Run("show", "two"), 0, "home.door.locked", "door/7", "doors/0@2", "nobody_listening", payload)
	if r := s.Want(s.Run("show", "two", "--raw"), 0); r.Stdout != payload {
		t.Errorf("the payload is %q", r.Stdout)
	}
	var events []shownEvent
	r := s.Want(s.Run("show", "one", "-o", "json"), 0, "9007199254740993")
	if err := json.Unmarshal([]byte(r.Stdout), &events); err != nil || len(events) != 2 || events[0].Type != "home.door.opened" || events[1].Type != "home.door.closed" {
		t.Errorf("%v: %s", err, r.Stdout)
	}
	s.Want(s.Run("show", "one"), 0, "2 events have the id one", "home.door.opened", "home.door.closed", payload)
	s.Want(s.Run("show", "one", "--raw"), 1, "2 events")
	s.Want(s.Run("show", "door/7"), 3, "no event with the id")
	s.Want(s.Run("show", "three"), 3, "nothing is known")
	s.Want(s.Run("story", "two", "--payloads"), 0, "home.door.locked", "\n"+payload+"\n")
	s.Want(s.Run("story", "two", "--payloads", "-o", "json"), 0, `"sentence"`, `"n": 9007199254740993`, `"<7>"`)
}

// Case: events of two partitions, read to the end: by time, chosen by what they are, with the ids that a story can be asked for.
func TestTailChoosesAndOrders(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors", "-p", "4"), 0)
	doors := []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	for _, d := range doors {
		s.Want(s.Run("emit", "home.door.opened", `{}`, "--topic", "doors", "--subject", "door/"+d, "--id", "o"+d), 0)
	}
	s.Want(s.Run("emit", "home.door.closed", `{}`, "--topic", "doors", "--subject", "door/3", "--id", "c3"), 0)
	ids := func(args ...string) string {
		r := s.Want(s.Run(append([]string{"tail", "doors", "-o", "jsonl"}, args...)...), 0)
		var ids []string
		for line := range strings.Lines(r.Stdout) {
			var e eventLine
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		return strings.Join(ids, " ")
	}
	for want, args := range map[string][]string{
		"o1 o2 o3 o4 o5 o6 o7 o8 c3": {"--from", "earliest", "--follow=false"},
		"o3 c3":                      {"--from", "earliest", "--follow=false", "--subject", "door/3"},
		"c3":                         {"-n", "1"},
		"o8":                         {"-n", "1", "--type", "home.door.opened"},
		"o2 o5":                      {"-n", "9", "--correlation", "o2", "--correlation", "o5"},
		"":                           {"-n", "9", "--reaction", "porter"},
	} {
		if got := ids(args...); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	s.Want(s.Run("tail", "doors", "-n", "1"), 0, "\tdoor/3\tc3\t{}")
}

// topic show names who emits and who handles which types.
func TestTopicShowNamesItsUsers(t *testing.T) {
	s, _ := stuckPorter(t)
	s.Want(s.Run("topic", "show", "doors"), 0, "emitted by porter: home.door.closed home.door.opened", "handled by porter: home.door.opened")
	s.Want(s.Run("topic", "show", "doors", "-o", "json"), 0, `"handled_by"`, `"reaction": "porter"`, `"emitted_by"`)
}

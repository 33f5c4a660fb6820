package cloudevent_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"tidings.dev/internal/cloudevent"
)

// Two senders that count 1, 2, 3 send six events, and each of them sent again is a copy.
func TestEventsOfTwoSourcesAreDistinct(t *testing.T) {
	file, err := os.ReadFile("testdata/two-sources.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[cloudevent.Identity]int)
	for range 2 {
		for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan(); {
			var line struct {
				Key string
				CE  map[string]string
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			var headers []string
			for name, value := range line.CE {
				headers = append(headers, "ce_"+name, value)
			}
			e := cloudevent.FromRecord(record(line.Key, "{}", headers...))
			seen[e.Identity()]++
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d identities", len(seen))
	}
	for id, n := range seen {
		if n != 2 {
			t.Errorf("%s: %d copies", id, n)
		}
	}
}

func TestIdentityIsOfSourceTypeAndID(t *testing.T) {
	seen := make(map[cloudevent.Identity]string)
	for name, e := range map[string]cloudevent.Event{
		"an event":           {Source: "s", Type: "t", ID: "i"},
		"another source":     {Source: "s2", Type: "t", ID: "i"},
		"another type":       {Source: "s", Type: "t2", ID: "i"},
		"another id":         {Source: "s", Type: "t", ID: "i2"},
		"split differently":  {Source: "st", Type: "", ID: "i"},
		"no id":              {Source: "s", Type: "t", ID: "orders/0/1", Foreign: true, Topic: "orders", Offset: 1},
		"no id, other place": {Source: "s", Type: "t", ID: "orders/0/2", Foreign: true, Topic: "orders", Offset: 2},
		"no id, other topic": {Source: "s", Type: "t", ID: "orders/0/1", Foreign: true, Topic: "orders", TopicID: [16]byte{1}, Offset: 1},
		"no id, made again":  {Source: "s", Type: "t", ID: "orders/0/1", Foreign: true, Topic: "orders", TopicID: [16]byte{2}, Offset: 1},
		"an id like a place": {Source: "s", Type: "t", ID: "orders/0/1", Topic: "orders", Offset: 1},
	} {
		if other, ok := seen[e.Identity()]; ok {
			t.Errorf("%s and %s have one identity", name, other)
		}
		seen[e.Identity()] = name
	}
	// Where an event lies does not matter if it has an id.
	if a, b := (cloudevent.Event{Source: "s", Type: "t", ID: "i"}), (cloudevent.Event{Source: "s", Type: "t", ID: "i", Topic: "orders", Offset: 9}); a.Identity() != b.Identity() {
		t.Error("a copy has another identity")
	}
	// Case: identities are kept, so the formula may never change.
	if got := (&cloudevent.Event{Source: "s", Type: "t", ID: "i"}).Identity().String(); got != "984783e4e6399c6c582133479d91178a" {
		t.Errorf("%s: the formula has changed", got)
	}
}

func BenchmarkIdentity(b *testing.B) {
	e := cloudevent.Event{Source: "payment", Type: "shop.payment.captured", ID: "3074e265135c567683e842c29890a020"}
	b.ReportAllocs()
	for b.Loop() {
		e.Identity()
	}
}

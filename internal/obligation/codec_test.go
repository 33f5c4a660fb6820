package obligation

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEveryFactSurvivesTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	facts := []Fact{
		&Subscription{Reaction: "payment", Topic: "orders", Types: []string{"shop.order.placed"}, Start: map[int32]int64{0: 7, 3: 9}, Since: map[int32]int64{0: 7, 3: 12}, At: at},
		&Subscription{Reaction: "fraud", Topic: "orders", Retired: true},
		&Marks{Reaction: "payment", Topic: "orders", Partition: 3, Epoch: 2, Done: []Range{{10, 12}, {15, 16}},
			Skipped: []Skipped{{11, "no customer"}}, Retried: []Retried{{10, 3, "timeout"}}, Duplicates: []int64{15}, Position: 12,
			Started: at, Finished: at.Add(time.Second), Times: []Timing{{10, 1500 * time.Microsecond, at.Add(time.Millisecond)}, {11, 0, at}}},
		&Marks{Reaction: "email", Topic: "orders"},
		&Retrying{Reaction: "email", Topic: "orders", Partition: 1, Offset: 5, Attempt: 2, Error: "connection refused", Next: at, At: at},
		&Seek{Reaction: "email", Topic: "orders", Partition: 1, From: 100, To: 50, Epoch: 1, Who: "ann", At: at},
		&Settled{Correlation: "c", Root: "r", Episode: 1, Events: 12, Through: []Position{{"orders", 3, 17}}, At: at},
		&Reopened{Correlation: "c", Root: "r", Episode: 2, Events: 13, At: at},
	}
	for _, f := range facts {
		b := Encode(f)
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", b, got, err, f)
		}
		if !strings.Contains(string(b), `"kind":"`+f.Kind()+`"`) || !strings.Contains(string(b), `"v":1`) {
			t.Errorf("%s: no kind or version", b)
		}
	}
}

func TestTheWireOfMarksIsAsDocumented(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := string(Encode(&Marks{Reaction: "email", Topic: "orders", Partition: 1, Done: []Range{{4, 6}}, Position: 6,
		Started: at, Finished: at.Add(2 * time.Millisecond), Times: []Timing{{5, time.Millisecond, at.Add(2 * time.Millisecond)}}}))
	want := `{"kind":"marks","v":1,"reaction":"email","topic":"orders","partition":1,"done":[[4,6]],"position":6,` +
		`"started":"2026-01-02T03:04:05Z","finished":"2026-01-02T03:04:05.002Z","times":[[5,1000,2000]]}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestReadersSkipWhatTheyDoNotKnow(t *testing.T) {
	// Case: a later version adds a field. It is ignored.
	f, err := Decode([]byte(`{"kind":"seek","v":2,"reaction":"a","topic":"t","to":5,"mood":"good"}`))
	if s, ok := f.(*Seek); err != nil || !ok || s.To != 5 {
		t.Errorf("added field: %+v, %v", f, err)
	}
	// Case: a kind of a later version.
	if _, err := Decode([]byte(`{"kind":"parked","v":1}`)); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("unknown kind: %v", err)
	}
	// Case: anybody can write anything to a topic.
	for _, bad := range []string{``, `null`, `{}`, `[]`, `"marks"`, `{"kind":7}`, `{"kind":"marks","done":[[5,4]]}`, `{"kind":"marks","done":[[-1,4]]}`, `{"kind":"marks","times":"x"}`} {
		if f, err := Decode([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", bad, f, err)
		}
	}
}

func TestSettledCoversTheEventsItCounted(t *testing.T) {
	s := &Settled{Through: []Position{{"orders", 3, 17}}}
	if !s.Covers("orders", 3, 16) || s.Covers("orders", 3, 17) || s.Covers("orders", 2, 1) || s.Covers("returns", 3, 1) {
		t.Error("Covers disagrees with Through")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"marks","v":1,"done":[[1,2]],"times":[[1,2,3]]}`))
	f.Add([]byte(`{"kind":"story.settled","through":[{"topic":"t","partition":1,"offset":2}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		fact, err := Decode(b)
		if err != nil {
			return
		}
		if again, err := Decode(Encode(fact)); err != nil || again.Kind() != fact.Kind() {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

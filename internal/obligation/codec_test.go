package obligation

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/offsets"
)

func TestEveryFactSurvivesTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	facts := []Fact{
		&Subscription{Reaction: "payment", Topic: "orders", Types: []string{"shop.order.placed"}, Start: map[int32]int64{0: 7, 3: 9}, Since: map[int32]int64{0: 7, 3: 12}, At: at},
		&Subscription{Reaction: "fraud", Topic: "orders", Retired: true},
		&Derivation{Reaction: "fraud", Topic: "orders", Partition: 2, TopicID: TopicID{1, 2}, Version: 2, From: 4711},
		&Marks{Reaction: "payment", Topic: "orders", Partition: 3, Epoch: 2, Done: []offsets.Range{{Lo: 10, Hi: 12}, {Lo: 15, Hi: 16}},
			Skipped: []Skipped{{11, "no customer"}}, Retried: []Retried{{10, 3, "timeout"}}, Duplicates: []int64{15}, Position: 12,
			Started: at, Finished: at.Add(time.Second), Times: []Timing{{10, 1500 * time.Microsecond, at.Add(time.Millisecond)}, {11, 0, at}}},
		&Marks{Reaction: "email", Topic: "orders"},
		&Marks{Reaction: "email", Topic: "orders", Emitted: []offsets.Range{}},
		&Marks{Reaction: "email", Topic: "orders", Emitted: []offsets.Range{{Lo: 4, Hi: 5}}, Through: []Position{{Topic: "mails", TopicID: TopicID{7}, Partition: 2, Offset: 9, Span: 3}}},
		&Retrying{Reaction: "email", Topic: "orders", Partition: 1, Offset: 5, Attempt: 2, First: at, Error: "connection refused", Next: at, At: at},
		&Running{Reaction: "email", Topic: "orders", Partition: 1, Offset: 5, Attempt: 2, Since: at, First: at, At: at},
		&Marks{Reaction: "email", Topic: "orders", TopicID: TopicID{1, 15: 255}},
		&Subscription{Reaction: "fraud", Topic: "orders", TopicID: TopicID{1}},
		&Retrying{Reaction: "email", Topic: "orders", TopicID: TopicID{1}},
		&Running{Reaction: "email", Topic: "orders", TopicID: TopicID{1}},
		&Seek{Reaction: "email", Topic: "orders", TopicID: TopicID{1}},
		&Settled{Through: []Position{{Topic: "orders", TopicID: TopicID{1}}}},
		&Seek{Reaction: "email", Topic: "orders", Partition: 1, From: 100, To: 50, Epoch: 1, Who: "ann", At: at},
		&Settled{Correlation: "c", Root: "r", Episode: 1, Events: 12, Through: []Position{{Topic: "orders", Partition: 3, Offset: 17}}, At: at},
		&Reopened{Correlation: "c", Root: "r", Episode: 2, Events: 13, At: at},
		&Seek{Reaction: "email", Topic: "orders", From: 7, To: 5, Epoch: 2, Who: "ann", Why: "a fire", Command: "again-17"},
		&Command{ID: "again-17", Action: ActionSeek, Reaction: "email", Topic: "orders", TopicID: TopicID{1}, Partition: 1, Epoch: 3, Position: 9, To: 4,
			Again: []offsets.Range{{Lo: 4, Hi: 6}, {Lo: 8, Hi: 9}}, Jump: []offsets.Range{{Lo: 12, Hi: 13}}, Who: "ann", Why: "a fire", Valid: 300_000, At: at},
		&Claim{ID: "again-17", Reaction: "email", Topic: "orders", Partition: 1, By: "m-1", At: at},
		&Result{ID: "again-17", Reaction: "email", Topic: "orders", TopicID: TopicID{1}, Partition: 1, State: ResultDone, Reason: "why", From: 9, To: 4, Epoch: 4, Who: "ann", Why: "a fire", By: "m-1", At: at},
		&Question{Correlation: "c", StoryEnd: 7, At: at},
		&Answer{Correlation: "c", StoryEnd: 9, Settled: true, Through: []Position{{Topic: "orders", Partition: 3, Offset: 17}}, At: at},
		&Answer{Correlation: "c", StoryEnd: 9, At: at},
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
	got := string(Encode(&Marks{Reaction: "email", Topic: "orders", Partition: 1, Done: []offsets.Range{{Lo: 4, Hi: 6}}, Position: 6,
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
	for _, bad := range []string{``, `null`, `{}`, `[]`, `"marks"`, `{"kind":7}`, `{"kind":"marks","done":[[5,4]]}`, `{"kind":"marks","done":[[-1,4]]}`, `{"kind":"marks","emitted":[[5,4]]}`, `{"kind":"marks","times":"x"}`} {
		if f, err := Decode([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", bad, f, err)
		}
	}
}

func TestSettledCoversTheEventsItCounted(t *testing.T) {
	s := &Settled{Through: []Position{{Topic: "orders", Partition: 3, Offset: 17}}}
	if !s.Covers("orders", 3, 16) || s.Covers("orders", 3, 17) || s.Covers("orders", 2, 1) || s.Covers("returns", 3, 1) {
		t.Error("Covers disagrees with Through")
	}
	// Case: something in between is not covered.
	between := &Settled{Through: []Position{{Topic: "orders", Offset: 20, Span: 5}, {Topic: "orders", Offset: 10}}}
	for offset, want := range map[int64]bool{9: true, 10: false, 14: false, 15: true, 19: true, 20: false} {
		if between.Covers("orders", 0, offset) != want {
			t.Errorf("%d is covered: %v", offset, !want)
		}
	}
	// Case: the topic was deleted and made again.
	s.Through[0].TopicID = TopicID{1}
	if s.CoversIn("orders", TopicID{2}, 3, 1) || !s.CoversIn("orders", TopicID{1}, 3, 1) || !s.Covers("orders", 3, 1) {
		t.Error("an offset of one topic covers an event of another one of its name")
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

package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

const ms = time.Millisecond

// ask returns the story of a key, and fails the test if there is none.
func ask(t *testing.T, ix *Index, word string, live Live) *Story {
	t.Helper()
	s, err := ix.Story(word, live)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// render returns the story as it is printed.
func render(t *testing.T, s *Story, f Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Render(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAStoryShowsWhatEveryReactionHasMadeOfIt prints the story of an order whose obligations have every state that
// there is.
func TestAStoryShowsWhatEveryReactionHasMadeOfIt(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	for _, r := range []string{"analytics", "email", "loyalty", "payment", "push", "sms", "warehouse"} {
		l.subscribe(r, "orders", "placed")
	}
	l.fact(&obligation.Subscription{Reaction: "fraud", Topic: "orders", Since: map[int32]int64{0: 10}})
	l.fact(&obligation.Subscription{Reaction: "audit", Topic: "orders", Start: map[int32]int64{0: 10}, Since: map[int32]int64{0: 10}})
	l.fact(&obligation.Subscription{Reaction: "fax", Topic: "orders", Retired: true})
	before := l.event("orders", "o0", "o0", "", "", "placed", "order/0", epoch.Add(-time.Second))
	placed := l.event("orders", "o1", "o1", "", "", "placed", "order/1", epoch)
	captured := l.event("orders", "p1", "o1", "o1", "payment", "captured", "order/1", after(12*ms))
	l.event("orders", "p1", "o1", "o1", "payment", "captured", "order/1", after(15*ms)) // payment ran twice
	l.event("parcels", "x1", "o1", "p9", "robot", "shipped", "parcel/1", after(20*ms))  // its cause is missing
	l.handled("payment", placed, after(13*ms), 1500*time.Microsecond)
	l.fact(&obligation.Marks{Reaction: "email", Topic: "orders", Done: []offsets.Range{{Lo: 1, Hi: 2}}, Position: 2, Finished: after(5 * ms),
		Skipped: []obligation.Skipped{{Offset: 1, Reason: "no address"}}})
	l.fact(&obligation.Retrying{Reaction: "loyalty", Topic: "orders", Offset: 1, Attempt: 2, Error: "timeout", At: after(9 * ms), Next: after(time.Second)})
	l.fact(&obligation.Retrying{Reaction: "warehouse", Topic: "orders", Offset: 1, Attempt: 1, Error: "no stock", At: after(2 * ms), Next: after(5 * ms)})
	l.fact(&obligation.Marks{Reaction: "warehouse", Topic: "orders", Done: []offsets.Range{{Lo: 1, Hi: 2}}, Position: 2, Started: after(5 * ms), Finished: after(6 * ms),
		Retried: []obligation.Retried{{Offset: 1, Attempts: 1, Error: "no stock"}}, Times: []obligation.Timing{{Offset: 1, Took: ms, Finished: after(6 * ms)}}})
	l.fact(&obligation.Seek{Reaction: "push", Topic: "orders", From: 0, To: 2, Epoch: 1, Who: "ann", At: after(30 * ms)})
	_, _ = before, captured
	apply(t, ix, l)

	s := ask(t, ix, "order/1", Live{Committed: map[string]map[string]map[int32]int64{
		"sms":  {"orders": {0: 2}}, // past the event, without marks
		"kcat": {"orders": {0: 1}, "parcels": {0: 1}},
	}})
	s.Sentence = strings.Replace(s.Sentence, formatDuration(s.AsOf.Sub(s.Last)), "LONG", 1)
	want := `order/1: stuck LONG in loyalty, 2 attempts failed: timeout; 2 more open.

placed  2026-03-04 10:00:00.000 UTC  order/1  orders/0@1
├─ … analytics  waiting (2 behind)
├─ ○ audit      joined later
├─ ⤼ email      skipped +5.0 ms: no address
├─ ○ fax        retired
├─ ○ fraud      joined later
├─ ↻ loyalty    retrying, 2 attempts failed, next +1.0 s: timeout
├─ ✓ payment    handled +13 ms, took 1.5 ms
│  └─ captured  +12 ms  orders/0@2  told 2 times
│     ├─ ○ audit  joined later
│     ├─ ○ fax    retired
│     ├─ ○ fraud  joined later
│     └─ … kcat   waiting (2 behind), inferred from a committed position
├─ ⤼ push       skipped +30 ms: a seek by ann jumped over it
├─ ? sms        unknown: its position moved past this without a record of why
├─ ✓ warehouse  handled +6.0 ms, took 1.0 ms, after 1 attempt failed: no stock
└─ … kcat       waiting (1 behind), inferred from a committed position

shipped  2026-03-04 10:00:00.020 UTC  +20 ms  parcel/1  parcels/0@0  emitted by robot  its cause p9 is not known
└─ ✓ kcat  handled, inferred from a committed position
`
	if got := render(t, s, Format{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if s.Events != 3 || s.Standing != StandingOpen {
		t.Errorf("%d events, %s", s.Events, s.Standing)
	}

	// Case: retention removes events that were not handled.
	s = ask(t, ix, "o1", Live{Starts: map[string]map[int32]int64{"orders": {0: 2}}})
	if want := "order/1: lost for analytics, which had not handled it when offsets 0–1 fell to retention; 2 more open."; s.Sentence != want {
		t.Errorf("%s", s.Sentence)
	}
}

// TestAStorySaysSinceWhen checks that an event counts as stuck from its first failed attempt on, and that a handler
// which runs for long is shown as running as long as its reaction repeats that it is.
func TestAStorySaysSinceWhen(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	now := time.Now()
	l.event("orders", "o1", "o1", "", "", "placed", "order/1", now.Add(-time.Hour))
	l.fact(&obligation.Retrying{Reaction: "payment", Topic: "orders", Attempt: 9, Error: "timeout", First: now.Add(-40 * time.Minute), At: now.Add(-time.Second), Next: now.Add(-time.Millisecond)})
	apply(t, ix, l)
	if s := ask(t, ix, "o1", Live{}); !strings.HasPrefix(s.Sentence, "order/1: stuck 40 min in payment, 9 attempts failed") {
		t.Error(s.Sentence)
	}
	l.fact(&obligation.Running{Reaction: "payment", Topic: "orders", Attempt: 10, Since: now.Add(-5 * time.Minute), First: now.Add(-40 * time.Minute), At: now})
	apply(t, ix, l)
	s := ask(t, ix, "o1", Live{})
	if !strings.HasPrefix(s.Sentence, "order/1: running in payment for 5 min") {
		t.Error(s.Sentence)
	}
	if got := render(t, s, Format{}); !strings.Contains(got, "▸ payment  running since +55 min, after 9 attempts failed") {
		t.Error(got)
	}
	// Case: the process has died meanwhile.
	l.fact(&obligation.Running{Reaction: "payment", Topic: "orders", Attempt: 10, Since: now.Add(-5 * time.Minute), At: now.Add(-3 * obligation.RunningEvery)})
	apply(t, ix, l)
	if s := ask(t, ix, "o1", Live{}); !strings.HasPrefix(s.Sentence, "order/1: waiting for payment (1 behind)") {
		t.Error(s.Sentence)
	}
}

// TestLinesFitTheTerminal checks that lines are cut to the width of the terminal, and that colours are used only if
// asked for.
func TestLinesFitTheTerminal(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	l.event("orders", "o1", "o1", "", "", strings.Repeat("long.", 30), "order/1", epoch)
	apply(t, ix, l)
	s := ask(t, ix, "order/1", Live{})
	for _, line := range strings.Split(render(t, s, Format{Width: 30}), "\n") {
		if n := len([]rune(line)); n > 30 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if got := render(t, s, Format{}); strings.Contains(got, "\x1b") {
		t.Errorf("colours were not asked for: %q", got)
	}
	if got := render(t, s, Format{Color: true}); !strings.Contains(got, "\x1b[33m… \x1b[0m") {
		t.Errorf("no colours: %q", got)
	}
}

// TestHostileRecords applies records of which every field is chosen to do harm. Nothing in them may control the
// terminal, hide an event or stop the index.
func TestHostileRecords(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.event("orders", "a\x1b[2Jid", "c\x00\xff", "", "", "typ\x07e\n", "order/\u202e1", epoch)
	// Two events that cause each other, and one that causes itself.
	l.event("orders", "e1", "loop", "e2", "r", "t", "loop", epoch)
	l.event("orders", "e2", "loop", "e1", "r", "t", "loop", epoch)
	l.event("orders", "e3", "loop", "e3", "r", "t", "loop", epoch)
	// One id for a thousand events, of two types.
	for i := range 1000 {
		l.event("orders", "same", "same", "", "", fmt.Sprint("t", i%2), "same", epoch)
	}
	l.append(&kgo.Record{Topic: "orders", Timestamp: epoch, Key: bytes.Repeat([]byte("k"), 1<<16), Headers: []kgo.RecordHeader{
		{Key: cloudevent.HeaderID, Value: bytes.Repeat([]byte("i"), 1<<20)}, {Key: cloudevent.HeaderTime, Value: []byte("soon")}, {Key: cloudevent.HeaderTraceParent, Value: []byte("-")}}})
	for _, topic := range []string{obligation.ReactionsTopic, obligation.SubscriptionsTopic, obligation.StoryTopic} {
		for _, v := range []string{"", "{", "null", `{"kind":"marks","v":1,"topic":"orders","done":[[0,9223372036854775807]],"times":[[-5,-5,-5]],"partition":-3}`,
			`{"kind":"seek","v":1,"topic":"orders","from":-10,"to":-20,"epoch":9223372036854775807}`,
			`{"kind":"subscription","v":1,"reaction":"","topic":""}`, `{"kind":"story.settled","correlation":"nobody"}`} {
			l.append(&kgo.Record{Topic: topic, Value: []byte(v), Timestamp: epoch})
		}
	}
	apply(t, ix, l)

	s := ask(t, ix, "loop", Live{})
	n := 0
	for range s.All {
		n++
	}
	if n != 3 {
		t.Errorf("%d events of 3 are shown", n)
	}
	refs, err := ix.Find("order/", 0)
	if err != nil || len(refs) != 1 {
		t.Fatalf("%v, %v", refs, err)
	}
	got := render(t, ask(t, ix, refs[0].Correlation, Live{}), Format{})
	for _, bad := range []string{"\x1b", "\x07", "\u202e", "typ\x07e\n"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q steers the terminal: %q", bad, got)
		}
	}
	s = ask(t, ix, "same", Live{})
	shown := 0
	for e := range s.All {
		shown += 1 + len(e.Copies)
	}
	if shown != 1000 {
		t.Errorf("%d records of 1000 are shown", shown)
	}
}

// TestForeignRecordsAreFoundByTheirKey applies records without headers, and an event that one of them caused.
func TestForeignRecordsAreFoundByTheirKey(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.append(&kgo.Record{Topic: "stock", Key: []byte("sku/7"), Value: []byte("x"), Timestamp: epoch})
	l.append(&kgo.Record{Topic: "stock", Key: []byte("sku/7"), Value: []byte("y"), Timestamp: after(ms)})
	l.event("orders", "o1", "stock/0/1", "stock/0/1", "reorder", "reordered", "order/1", after(2*ms))
	apply(t, ix, l)
	want := `sku/7: 3 events, and nobody listening.

record  2026-03-04 10:00:00.000 UTC  sku/7  stock/0@0
└─ · nobody listening

record  2026-03-04 10:00:00.001 UTC  +1.0 ms  sku/7  stock/0@1
├─ · nobody listening
└─ reordered  +2.0 ms  orders/0@0
   └─ · nobody listening
`
	if got := render(t, ask(t, ix, "sku/7", Live{}), Format{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A story of foreign records only is not counted as open.
	if st := ix.Stats(); st != (Stats{Events: 3, Stories: 2, Open: 1}) {
		t.Errorf("%+v", st)
	}
	if _, err := ix.Story("stock/0/0", Live{}); err != nil {
		t.Error(err)
	}
	if _, err := ix.Story("stock/0/9", Live{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestFindTakesAnyKey checks that each kind of key leads to the same story, and that a subject with many stories leads
// to its newest.
func TestFindTakesAnyKey(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	r := l.event("orders", "o1", "c1", "", "", "placed", "order/1", epoch)
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: cloudevent.HeaderTraceParent, Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")})
	for i := range 30 {
		l.event("orders", fmt.Sprint("b", i), fmt.Sprint("b", i), "", "", "placed", "busy", epoch)
	}
	apply(t, ix, l)
	for word, by := range map[string]string{"c1": "correlation", "o1": "event", "order/1": "subject", "0af7651916cd43dd8448eb211c80319c": "trace", "ord": "subject"} {
		refs, err := ix.Find(word, 0)
		if err != nil || len(refs) != 1 || refs[0].Correlation != "c1" || refs[0].By != by {
			t.Errorf("%s: %+v, %v", word, refs, err)
		}
	}
	if refs, err := ix.Find("nothing", 0); err != nil || len(refs) != 0 {
		t.Errorf("%v, %v", refs, err)
	}
	// A subject with many stories gets the newest of them, and the number of those left out.
	s := ask(t, ix, "busy", Live{})
	if len(s.Correlations) != pageStories || s.Correlations[0] != "b29" || s.LeftStories != 10 {
		t.Errorf("%v, %d left out", s.Correlations, s.LeftStories)
	}
}

// TestTheJSONForm checks the names of the fields in JSON, which must not change.
func TestTheJSONForm(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	placed := l.event("orders", "o1", "o1", "", "", "placed", "order/1", epoch)
	l.handled("payment", placed, after(2*ms), ms)
	apply(t, ix, l)
	s := ask(t, ix, "order/1", Live{})
	s.AsOf = after(time.Second)
	got, err := json.Marshal(s)
	must(t, err)
	want := `{"query":"order/1","correlations":["o1"],"standing":"quiet",` +
		`"sentence":"order/1: nothing is owed as far as is known, not recorded as settled; 1 event, 1 reaction.","events":1,` +
		`"first":"2026-03-04T10:00:00Z","last":"2026-03-04T10:00:00.002Z","as_of":"2026-03-04T10:00:01Z","roots":[{"id":"o1","type":"placed",` +
		`"subject":"order/1","source":"shop","correlation":"o1","time":"2026-03-04T10:00:00Z","topic":"orders","partition":0,"offset":0,` +
		`"obligations":[{"reaction":"payment","state":"handled","certainty":"recorded","at":"2026-03-04T10:00:00.002Z","took_ns":1000000}]}]}`
	if string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestTopicsComeAndGo deletes a topic: the events that were not handled are lost. When a topic with the same name is
// created, all subscriptions apply to it, and it is read from its beginning.
func TestTopicsComeAndGo(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	one, two := logclient.Topic{Name: "orders", ID: [16]byte{1}, Partitions: 1}, logclient.Topic{Name: "orders", ID: [16]byte{2}, Partitions: 1}
	must(t, ix.setTopics([]logclient.Topic{one}))
	l.subscribe("payment", "orders")
	l.subscribe("email", "orders")
	placed := l.event("orders", "o1", "o1", "", "", "placed", "order/1", epoch)
	l.handled("email", placed, after(ms), ms)
	apply(t, ix, l)
	open := func() int {
		n := 0
		for e := range ask(t, ix, "o1", Live{}).All {
			for _, o := range e.Obligations {
				if o.Open() {
					n++
				}
			}
		}
		return n
	}
	if open() != 1 {
		t.Fatalf("%d open", open())
	}
	must(t, ix.setTopics(nil))
	if open() != 1 || len(ix.judge.pending) != 0 {
		t.Errorf("deleted: %d open, %d due", open(), len(ix.judge.pending))
	}
	if want := "order/1: lost for payment, which had not handled it when its topic was deleted."; ask(t, ix, "o1", Live{}).Sentence != want {
		t.Error(ask(t, ix, "o1", Live{}).Sentence)
	}
	must(t, ix.setTopics([]logclient.Topic{two}))
	if at := ix.position("orders", 0); at != 0 {
		t.Errorf("made again: read from %d", at)
	}
	l.ends["orders/0"] = 0
	l.subscribe("payment", "orders")
	l.event("orders", "o2", "o2", "", "", "placed", "order/2", epoch)
	apply(t, ix, l)
	path := ix.path
	must(t, ix.Close())
	ix, err := OpenIndex(path, nil)
	must(t, err)
	defer ix.Close()
	s := ask(t, ix, "o2", Live{})
	if want := "order/2: waiting for email (1 behind) and payment (1 behind)."; s.Sentence != want {
		t.Errorf("%s", s.Sentence)
	}
}

// FuzzRows checks that decoding a row never panics, whatever its bytes are.
func FuzzRows(f *testing.F) {
	block := new(eventBlock)
	block.append(1, &eventRow{eventHead: eventHead{story: 7, typ: 3, copy: firstCopy}, id: "x"}, new(storyRow))
	f.Add(block.row)
	f.Add((&storyRow{correlation: "c", through: []location{{partition{1, 2}, 3}}}).encode())
	f.Add((&coverage{epoch: 1, done: offsets.SetOf(offsets.Range{Lo: 1, Hi: 2})}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for r := newBlockReader(b); r.next(); {
			r.event(new(storyRow))
		}
		decodeStory(b)
		loadHashRun(nil, 1, 0, b)
		decodeCoverage(b)
		decodeNote(b)
	})
}

// TestATombstoneEndsASubscription checks that a reaction whose subscription a tombstone has ended is still shown where it has handled
// an event, and owes nothing.
func TestATombstoneEndsASubscription(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("email", "orders", "placed")
	l.event("orders", "o1", "o1", "", "", "placed", "order/1", epoch)
	handled := l.event("orders", "o2", "o2", "", "", "placed", "order/2", epoch)
	l.event("orders", "o3", "o3", "", "", "placed", "order/3", epoch)
	l.fact(&obligation.Marks{Reaction: "email", Topic: "orders", Done: []offsets.Range{{Lo: 0, Hi: 1}}, Unhandled: []offsets.Range{{Lo: 0, Hi: 1}}, Position: 1})
	l.handled("email", handled, after(ms), ms)
	l.append(&kgo.Record{Topic: obligation.SubscriptionsTopic, Key: []byte(obligation.SubscriptionKey("email", "orders")), Timestamp: epoch})
	apply(t, ix, l)
	for key, want := range map[string]string{
		"order/1": "· nobody listening", // the reaction had no handler for it
		"order/2": "✓ email  handled +1.0 ms, took 1.0 ms",
		"order/3": "· nobody listening",
	} {
		if got := render(t, ask(t, ix, key, Live{}), Format{}); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", key, got)
		}
	}
}

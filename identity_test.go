package tidings_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
)

type reading struct{ V string }

var (
	taken   = tidings.Define[reading]("plant.reading.taken", tidings.In("plant", tidings.Partitions(1)))
	checked = tidings.Define[reading]("plant.reading.checked", tidings.In("plant", tidings.Partitions(1)))
)

// binary returns a record of the topic plant in binary mode.
func binary(key, value string, headers map[string]string) *kgo.Record {
	r := &kgo.Record{Topic: "plant", Key: []byte(key), Value: []byte(value)}
	for name, v := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
	}
	return r
}

// write appends records beside the framework.
func write(t *testing.T, where tidings.Connection, records ...*kgo.Record) {
	t.Helper()
	if err := client(t, where).ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// twoSources returns the events of two meters that both count 1, 2, 3.
func twoSources(t *testing.T) (records []*kgo.Record) {
	t.Helper()
	file, err := os.ReadFile("internal/cloudevent/testdata/two-sources.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan(); {
		var line struct {
			Key   string
			CE    map[string]string
			Value json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		headers := make(map[string]string)
		for name, v := range line.CE {
			headers["ce_"+name] = v
		}
		records = append(records, binary(line.Key, string(line.Value), headers))
	}
	return records
}

// seen keeps what the handlers of a test have got.
type seen struct {
	mu     sync.Mutex
	values []string
	keys   map[string]bool
}

func (s *seen) note(e tidings.Event[reading]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, e.Data.V)
	if s.keys == nil {
		s.keys = make(map[string]bool)
	}
	s.keys[e.Key()] = true
}

func (s *seen) has(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.values, value)
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// Case: two senders count 1, 2, 3. Each of the six events is handled once, and the three that are sent again are copies.
func TestEventsOfTwoSourcesAreHandled(t *testing.T) {
	where := keep(t)
	app := open(t, "checks", where)
	var got seen
	tidings.React(app, taken, func(_ context.Context, e tidings.Event[reading]) error {
		got.note(e)
		return nil
	})
	run := start(t, app)
	records := twoSources(t)
	write(t, where, append(records, twoSources(t)[:3]...)...)
	write(t, where, binary("end", `{"V":"end"}`, map[string]string{"ce_id": "end", "ce_type": taken.Name()}))
	eventually(t, "the last one is handled", func() bool { return got.has("end") })
	run.stop()
	if got.len() != len(records)+1 {
		t.Errorf("%d events were handled: %v", got.len(), got.values)
	}
	if n := run.Stats()["checks"].Duplicates; n != 3 {
		t.Errorf("%d copies were dropped", n)
	}
}

// Case: one id for two facts about one thing, and events with an empty id, of which none is a copy of another.
func TestAnIDIsOneFactsOnly(t *testing.T) {
	where := keep(t)
	app := open(t, "checks", where)
	var got seen
	for _, f := range []*tidings.Fact[reading]{taken, checked} {
		tidings.React(app, f, func(_ context.Context, e tidings.Event[reading]) error {
			got.note(e)
			return nil
		})
	}
	run := start(t, app)
	for _, f := range []*tidings.Fact[reading]{taken, checked, taken} {
		if _, err := f.Emit(run.ctx, reading{f.Name()}, tidings.ID("order-1")); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		write(t, where, binary("k", `{"V":"empty"}`, map[string]string{"ce_id": "", "ce_type": taken.Name(), "ce_source": "/a"}))
	}
	write(t, where, binary("k", `{"V":"end"}`, map[string]string{"ce_id": "end", "ce_type": taken.Name()}))
	eventually(t, "the last one is handled", func() bool { return got.has("end") })
	run.stop()
	if got.len() != 6 || len(got.keys) != 6 {
		t.Errorf("%d events were handled, under %d keys: %v", got.len(), len(got.keys), got.values)
	}
}

// Case: what is not understood is passed over, counted, and logged once for each topic.
func TestWhatIsNotUnderstoodIsSaidOnce(t *testing.T) {
	where := keep(t)
	var log logged
	app, err := tidings.Open("checks", where, tidings.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	var got seen
	tidings.React(app, taken, func(_ context.Context, e tidings.Event[reading]) error {
		got.note(e)
		return nil
	})
	run := start(t, app)
	typ := taken.Name()
	write(t, where,
		binary("k", `{"V":"x"}`, map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a"}),
		binary("k", `{"V":"x"}`, map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_type": "", "ce_source": "/a"}),
		binary("k", `{"V":"x"}`, map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_type": typ + "\xff", "ce_source": "/a"}),
		binary("k", `{"specversion":"1.0","id":"1","source":"/a"}`, map[string]string{"content-type": "application/cloudevents+json"}),
		binary("k", `{"specversion":"1.0","id":"1","source":"/a","type":5}`, map[string]string{"content-type": "application/cloudevents+json"}),
		binary("k", "\x00\x01", map[string]string{"content-type": "application/cloudevents+avro"}),
		binary("k", `[{"id":"1"}]`, map[string]string{"content-type": "application/cloudevents-batch+json"}),
		binary("k", `{"id":`, map[string]string{"content-type": "application/cloudevents+json"}),
		binary("k", `{"V":"x"}`, map[string]string{"ce_specversion": "2.0", "ce_id": "1", "ce_type": typ, "ce_source": "/a"}),
		binary("k", "of no concern", nil),
		binary("k", `{"V":"good"}`, map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_type": typ, "ce_source": "/a"}),
	)
	eventually(t, "the one that is understood is handled", func() bool { return got.len() == 1 })
	run.stop()
	if s := run.Stats()["checks"]; s.NotUnderstood != 9 || s.Unhandled != 10 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(log.String(), "is not understood"); n != 1 || !strings.Contains(log.String(), "it has a ce_specversion and no ce_type") || !strings.Contains(log.String(), "topic=plant") {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// Case: events as other programs write them: Knative in structured mode, Dapr without a content type, and the trace as an
// attribute. What follows from them is in their trace and story.
func TestEventsOfOtherProgramsAreHandled(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	where := keep(t)
	app := open(t, "checks", where)
	events := make(chan tidings.Event[reading], 3)
	tidings.React(app, taken, func(ctx context.Context, e tidings.Event[reading]) error {
		events <- e
		_, err := checked.Emit(ctx, e.Data)
		return err
	})
	run := start(t, app)
	body := func(id string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/other","type":"` + taken.Name() + `","subject":"s/1","traceparent":"` + trace + `","datacontenttype":"application/json","data":{"V":"` + id + `"}}`
	}
	write(t, where,
		binary("", body("knative"), map[string]string{"content-type": "application/cloudevents+json; charset=UTF-8"}),
		binary("", body("dapr"), nil),
		binary("", `{"V":"binary"}`, map[string]string{"ce_specversion": "1.0", "ce_id": "binary", "ce_source": "/other", "ce_type": taken.Name(), "ce_subject": "s/1", "ce_traceparent": trace}),
	)
	for _, id := range []string{"knative", "dapr", "binary"} {
		e := <-events
		if e.ID != id || e.Data.V != id || e.Source != "/other" || e.Subject != "s/1" || e.TraceParent != trace {
			t.Errorf("%+v", e)
		}
	}
	run.stop()
	followed := 0
	for _, r := range dump(t, where, "plant") {
		if header(r, cloudevent.HeaderType) == checked.Name() {
			followed++
			if tp := header(r, cloudevent.HeaderTraceParent); cloudevent.TraceID(tp) != trace[3:35] || header(r, cloudevent.HeaderCausation) != header(r, cloudevent.HeaderCorrelation) {
				t.Errorf("%v", r.Headers)
			}
		}
	}
	if followed != 3 {
		t.Errorf("%d events followed", followed)
	}
}

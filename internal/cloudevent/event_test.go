package cloudevent_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// stamped is the timestamp of the records of these tests, given in another zone than UTC.
var stamped = time.Date(2026, 11, 29, 3, 4, 5, 6_000_000, time.FixedZone("CET", 3600))

// record returns a record at orders/3, offset 7, with headers given as key, value, key, value …
func record(key, value string, headers ...string) *kgo.Record {
	r := &kgo.Record{Topic: "orders", Partition: 3, Offset: 7, Timestamp: stamped, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestFromRecord(t *testing.T) {
	structured, err := os.ReadFile("testdata/structured.json")
	if err != nil {
		t.Fatal(err)
	}
	const media = "application/cloudevents+json"
	// foreign is what a record that is no CloudEvent is.
	foreign := func(subject, data string) cloudevent.Event {
		return cloudevent.Event{ID: "orders/3/7", Subject: subject, Correlation: "orders/3/7", Time: stamped.UTC(), Data: []byte(data), Foreign: true}
	}
	misunderstood := func(data, contentType, why string) cloudevent.Event {
		e := foreign("k", data)
		e.ContentType, e.NotUnderstood = contentType, why
		return e
	}
	// What Dapr writes for a publication, with its own attributes beside those of CloudEvents.
	dapr := []byte(`{"data":{"V":"dapr"},"datacontenttype":"application/json","id":"5929aaac-a5e2-4ca1-859c-edfe73f11565","pubsubname":"pubsub",` +
		`"source":"checkout","specversion":"1.0","time":"2026-11-29T00:00:00Z","topic":"orders","traceid":"` + trace + `","traceparent":"` + trace + `","tracestate":"","type":"com.dapr.event.sent"}`)
	daprEvent := cloudevent.Event{
		ID: "5929aaac-a5e2-4ca1-859c-edfe73f11565", Source: "checkout", Type: "com.dapr.event.sent", Subject: "s/1", Correlation: "5929aaac-a5e2-4ca1-859c-edfe73f11565",
		Time: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), TraceParent: trace, ContentType: "application/json", Data: []byte(`{"V":"dapr"}`),
	}
	python := cloudevent.Event{
		ID: "st-1", Source: "/py", Type: "plant.reading.taken", Subject: "s/1", Correlation: "st-1",
		Time: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), ContentType: "application/json", Data: []byte(`{"V": "structured"}`),
	}
	for name, test := range map[string]struct {
		record *kgo.Record
		want   cloudevent.Event
	}{
		"binary mode, everything": {
			record("k", `{}`, "ce_specversion", "1.0", "ce_id", "i", "ce_type", "t", "ce_source", "s", "ce_subject", "u", "ce_time", "2011-12-09T12:50:00.5+01:00",
				"ce_schemaversion", "2", "ce_correlationid", "c", "ce_causationid", "b", "ce_reaction", "r", "traceparent", trace, "content-type", "application/json", "ce_other", "x"),
			cloudevent.Event{ID: "i", Type: "t", Source: "s", Subject: "u", Time: time.Date(2011, 12, 9, 11, 50, 0, 500_000_000, time.UTC), SchemaVersion: 2,
				Correlation: "c", Causation: "b", Reaction: "r", TraceParent: trace, ContentType: "application/json", Data: []byte(`{}`)},
		},
		"binary mode, only an id": {record("k", "x", "ce_id", "i"), cloudevent.Event{ID: "i", Subject: "k", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"no headers":              {record("k", "x"), foreign("k", "x")},
		"no key either":           {record("", "x"), foreign("", "x")},
		// A record with a type and no id: what it says is taken, and its place is its id.
		"a type and no id": {record("k", "x", "ce_type", "t"), func() cloudevent.Event { e := foreign("k", "x"); e.Type = "t"; return e }()},
		// The first header of a key counts, and an empty one counts as absent.
		"an id twice":                          {record("", "x", "ce_id", "i", "ce_id", "j"), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"an id, and an empty one":              {record("", "x", "ce_id", "i", "ce_id", ""), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"an empty id, and an id":               {record("", "x", "ce_id", "", "ce_id", "j"), cloudevent.Event{ID: "j", Correlation: "j", Time: stamped.UTC(), Data: []byte("x")}},
		"an empty id":                          {record("k", "x", "ce_id", "", "ce_type", "t"), func() cloudevent.Event { e := foreign("k", "x"); e.Type = "t"; return e }()},
		"a trace as an attribute":              {record("", "x", "ce_id", "i", "ce_traceparent", trace), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), TraceParent: trace, Data: []byte("x")}},
		"a trace both ways":                    {record("", "x", "ce_id", "i", "ce_traceparent", "other", "traceparent", trace), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), TraceParent: trace, Data: []byte("x")}},
		"a later minor version of CloudEvents": {record("", "x", "ce_id", "i", "ce_type", "t", "ce_specversion", "1.1"), cloudevent.Event{ID: "i", Type: "t", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"an empty subject":                     {record("k", "x", "ce_id", "i", "ce_subject", ""), cloudevent.Event{ID: "i", Subject: "k", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"times and numbers":                    {record("", "x", "ce_id", "i", "ce_time", "soon", "ce_schemaversion", "two"), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},
		"a year too far":                       {record("", "x", "ce_id", "i", "ce_time", "9999-12-31T23:59:59-01:00"), cloudevent.Event{ID: "i", Correlation: "i", Time: stamped.UTC(), Data: []byte("x")}},

		"structured mode":                  {record("s/1", string(structured), "content-type", media), python},
		"structured mode, with parameters": {record("", string(structured), "content-type", "Application/CloudEvents+JSON ; charset=UTF-8"), python},
		// The value counts, and not the headers ce_* that may stand beside it.
		"structured mode, headers too": {record("k", string(structured), "ce_id", "other", "ce_subject", "other", "content-type", media), python},
		"structured mode, everything": {
			record("k", `{"specversion":"1.0","id":"i","type":"t","source":"s","subject":"u","time":"2011-12-09T12:50:00Z","schemaversion":2,"correlationid":"c","causationid":"b","reaction":"r","traceparent":"`+trace+`","data_base64":"AP8="}`, "content-type", media),
			cloudevent.Event{ID: "i", Type: "t", Source: "s", Subject: "u", Time: time.Date(2011, 12, 9, 12, 50, 0, 0, time.UTC), SchemaVersion: 2,
				Correlation: "c", Causation: "b", Reaction: "r", TraceParent: trace, Data: []byte{0, 255}},
		},
		"structured mode, text": {record("k", `{"id":"i","type":"t","datacontenttype":"text/plain","data":"a\u0062"}`, "content-type", media, "traceparent", trace),
			cloudevent.Event{ID: "i", Type: "t", Subject: "k", Correlation: "i", Time: stamped.UTC(), TraceParent: trace, ContentType: "text/plain", Data: []byte("ab")}},
		"structured mode, a string of JSON": {record("", `{"id":"i","type":"t","datacontenttype":"application/vnd.x+json; charset=utf-8","data":"a"}`, "content-type", media),
			cloudevent.Event{ID: "i", Type: "t", Correlation: "i", Time: stamped.UTC(), ContentType: "application/vnd.x+json; charset=utf-8", Data: []byte(`"a"`)}},
		"structured mode, null and wrong types": {record("", `{"id":7,"ID":"8","type":"t","source":["s"],"subject":{},"time":null,"data":null}`, "content-type", media),
			cloudevent.Event{ID: "7", Type: "t", Correlation: "7", Time: stamped.UTC()}},
		// Dapr names no content type: the value is known by the attributes that each event must have.
		"structured mode, unmarked":           {record("s/1", string(dapr)), daprEvent},
		"structured mode, marked as JSON":     {record("s/1", string(dapr), "content-type", "application/json"), daprEvent},
		"JSON that lacks an attribute":        {record("k", `{"specversion":"1.0","id":"1","type":"t"}`), foreign("k", `{"specversion":"1.0","id":"1","type":"t"}`)},
		"JSON with an attribute that is none": {record("k", `{"specversion":"1.0","id":1,"source":"s","type":"t"}`), foreign("k", `{"specversion":"1.0","id":1,"source":"s","type":"t"}`)},
		"binary mode with such data":          {record("k", string(dapr), "ce_id", "i", "ce_type", "t"), cloudevent.Event{ID: "i", Type: "t", Subject: "k", Correlation: "i", Time: stamped.UTC(), Data: dapr}},

		// What claims to be an event and is not read as one has its reason.
		"structured mode, no JSON":                 {record("k", `{"id":`, "content-type", media, "ce_id", "i"), misunderstood(`{"id":`, media, "its value is not the JSON of an event: unexpected end of JSON input")},
		"structured mode, no object":               {record("k", `null`, "content-type", media), misunderstood(`null`, media, "its value is not the JSON of an event: it is null")},
		"structured mode, no type":                 {record("k", `{"id":"i"}`, "content-type", media), misunderstood(`{"id":"i"}`, media, "the event in its value has no type")},
		"structured mode, broken data":             {record("k", `{"id":"i","type":"t","data_base64":"!"}`, "content-type", media), misunderstood(`{"id":"i","type":"t","data_base64":"!"}`, media, "the data_base64 of the event in its value does not decode: illegal base64 data at input byte 0")},
		"structured mode, version 2":               {record("k", `{"specversion":"2.0","id":"i","type":"t"}`, "content-type", media), misunderstood(`{"specversion":"2.0","id":"i","type":"t"}`, media, "its specversion is not 1.0: 2.0")},
		"binary mode, version 2":                   {record("k", `{}`, "ce_specversion", "2.0", "ce_id", "i", "ce_type", "t"), misunderstood(`{}`, "", "its specversion is not 1.0: 2.0")},
		"structured mode, a number as its type":    {record("k", `{"id":"i","type":5}`, "content-type", media), misunderstood(`{"id":"i","type":5}`, media, "the event in its value has no type")},
		"structured mode, an empty type":           {record("k", `{"id":"i","type":""}`, "content-type", media), misunderstood(`{"id":"i","type":""}`, media, "the event in its value has no type")},
		"structured mode, a type that is not text": {record("k", "{\"id\":\"i\",\"type\":\"t\xff\"}", "content-type", media), misunderstood("{\"id\":\"i\",\"type\":\"t\xff\"}", media, `its type is not valid UTF-8: "\"t\xff\""`)},
		"structured mode, an id that is not text":  {record("k", "{\"id\":\"\xff\",\"type\":\"t\"}", "content-type", media), misunderstood("{\"id\":\"\xff\",\"type\":\"t\"}", media, `its id is not valid UTF-8: "\"\xff\""`)},
		"unmarked, an empty type":                  {record("k", `{"specversion":"1.0","id":"1","source":"s","type":""}`), misunderstood(`{"specversion":"1.0","id":"1","source":"s","type":""}`, "", "the event in its value has no type")},
		"binary mode, no type":                     {record("k", "x", "ce_specversion", "1.0", "ce_id", "i", "ce_source", "s"), misunderstood("x", "", "it has a ce_specversion and no ce_type")},
		"binary mode, an empty type":               {record("k", "x", "ce_specversion", "1.0", "ce_id", "i", "ce_source", "s", "ce_type", ""), misunderstood("x", "", "it has a ce_specversion and no ce_type")},
		"binary mode, nothing but a version":       {record("k", "x", "ce_specversion", "1.0"), misunderstood("x", "", "it has a ce_specversion and no ce_type")},
		"binary mode, a type that is not text":     {record("k", "x", "ce_specversion", "1.0", "ce_id", "i", "ce_source", "s", "ce_type", "t\xff"), misunderstood("x", "", `its ce_type is not valid UTF-8: "t\xff"`)},
		"a type that is not text, and no version":  {record("k", "x", "ce_type", "t\xff"), misunderstood("x", "", `its ce_type is not valid UTF-8: "t\xff"`)},
		"structured mode in Avro":                  {record("k", "x", "content-type", "application/CloudEvents+avro", "ce_id", "i"), misunderstood("x", "application/CloudEvents+avro", "its content-type means a content mode that is not read: application/CloudEvents+avro")},
		"a batch":                                  {record("k", `[]`, "content-type", "application/cloudevents-batch+json; charset=UTF-8"), misunderstood(`[]`, "application/cloudevents-batch+json; charset=UTF-8", "its content-type means a content mode that is not read: application/cloudevents-batch+json; charset=UTF-8")},
	} {
		test.want.Topic, test.want.Partition, test.want.Offset = "orders", 3, 7
		got := cloudevent.FromRecord(test.record)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, test.want)
		}
	}
}

// What is written is what docs and other clients expect: the headers in this order, and none that has nothing to say.
func TestRecordIsBinaryMode(t *testing.T) {
	e := cloudevent.Event{ID: "i", Type: "t", Source: "s", Subject: "u", Time: time.Date(2011, 12, 9, 12, 50, 0, 500, time.FixedZone("CET", 3600)),
		SchemaVersion: 1, Correlation: "c", Causation: "b", Reaction: "r", TraceParent: trace, ContentType: "application/json", Data: []byte(`{}`)}
	r := e.Record("orders")
	var b strings.Builder
	for _, h := range r.Headers {
		b.WriteString(h.Key + "=" + string(h.Value) + "\n")
	}
	want := "ce_specversion=1.0\nce_id=i\nce_type=t\nce_source=s\nce_subject=u\nce_time=2011-12-09T11:50:00.0000005Z\nce_schemaversion=1\n" +
		"ce_correlationid=c\nce_causationid=b\nce_reaction=r\ntraceparent=" + trace + "\ncontent-type=application/json\n"
	if b.String() != want || string(r.Key) != "u" || string(r.Value) != "{}" || r.Topic != "orders" {
		t.Errorf("key %s, value %s, topic %s, headers\n%swant\n%s", r.Key, r.Value, r.Topic, b.String(), want)
	}
	bare := (&cloudevent.Event{ID: "i"}).Record("orders")
	if len(bare.Headers) != 2 || bare.Key != nil || bare.Value != nil {
		t.Errorf("an event with an id alone: %+v", bare)
	}
}

func TestTraceParents(t *testing.T) {
	for tp, want := range map[string]bool{
		trace:                     true,
		"01" + trace[2:] + "-xyz": true, // a later version may be longer
		trace + "-xyz":            false,
		"ff" + trace[2:]:          false,
		"":                        false,
		strings.ToUpper(trace):    false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
	} {
		if got := cloudevent.ValidTraceParent(tp); got != want {
			t.Errorf("%q: %v", tp, got)
		}
		child := cloudevent.ChildTraceParent(tp)
		if !cloudevent.ValidTraceParent(child) || want != (tp != "" && len(tp) > 35 && child[3:35] == tp[3:35]) {
			t.Errorf("%q is continued as %q", tp, child)
		}
		if id := cloudevent.TraceID(tp); want && id != tp[3:35] || !want && id != "" {
			t.Errorf("%q: trace id %q", tp, id)
		}
	}
}

// FuzzFromRecord: no record makes the parser panic, and an event that is written and read again is the same event.
func FuzzFromRecord(f *testing.F) {
	f.Add("k", []byte(`{"V":1}`), "i", "t", "2011-12-09T12:50:00+01:00", "1", "application/json", int64(1_322_000_000_000))
	f.Add("", []byte(`{"id":"i","data":"x","datacontenttype":"text/plain"}`), "", "", "", "", "application/cloudevents+json; charset=UTF-8", int64(0))
	f.Add("", []byte(`{"data_base64":"AP8="}`), "", "", "0000-01-01T00:00:00+01:00", "-1", "APPLICATION/CLOUDEVENTS+JSON", int64(-1))
	f.Add("", []byte(`{"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`), "", "", "", "", "", int64(0))
	f.Add("", []byte("1E190"), "", "", "", "", "\r\n APPLICATION/CLOUDEVENTS+JSON", int64(-27))
	f.Fuzz(func(t *testing.T, key string, value []byte, id, typ, at, version, contentType string, timestamp int64) {
		r := record(key, string(value), "ce_id", id, "ce_type", typ, "ce_time", at, "ce_schemaversion", version, "content-type", contentType)
		r.Timestamp = time.UnixMilli(timestamp % 250_000_000_000_000) // to the year 9892
		e := cloudevent.FromRecord(r)
		again := e.Record(r.Topic)
		again.Partition, again.Offset, again.Timestamp = r.Partition, r.Offset, r.Timestamp
		back := cloudevent.FromRecord(again)
		e.Foreign = false // it has an id now
		if e.NotUnderstood != "" || strings.HasPrefix(strings.ToLower(strings.TrimSpace(e.ContentType)), "application/cloudevents") {
			return // data that is itself an event: binary mode cannot express it
		}
		if e.Type == "" || !utf8.ValidString(e.Type) {
			return // a record that is no event: what is written claims to be one
		}
		if !reflect.DeepEqual(back, e) {
			t.Fatalf("\n got %+v\nwant %+v", back, e)
		}
	})
}

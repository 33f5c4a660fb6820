package tidings

import (
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// An event travels as a CloudEvent in Kafka's binary mode: attributes are record headers, data is the record's value.
//
//	ce_specversion   1.0
//	ce_id            the id by which copies are told
//	ce_type          the fact's name
//	ce_source        the app that emits
//	ce_subject       what it is about; also the record's key. Absent when there is none
//	ce_time          when it happened, RFC 3339 in UTC
//	ce_schemaversion
//	ce_correlationid the id of the story's root
//	ce_causationid   the event whose handling emitted this one. Absent on a root
//	ce_reaction      the reaction that emitted it. Absent on a root
//	traceparent      W3C trace context
//	content-type     application/json

const specVersion = "1.0"

// outgoing is an event on its way to the log.
type outgoing struct {
	meta     Meta
	reaction string // who emits; empty for a root
	payload  []byte
}

// record makes the record of an event. Partition and offset are the producer's to fill.
func (e *outgoing) record() *kgo.Record {
	m := &e.meta
	r := &kgo.Record{Topic: m.Topic, Value: e.payload, Headers: make([]kgo.RecordHeader, 0, 12)}
	add := func(key, value string) {
		if value != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	add(obligation.HeaderSpecVersion, specVersion)
	add(obligation.HeaderID, m.ID)
	add(obligation.HeaderType, m.Type)
	add(obligation.HeaderSource, m.Source)
	add(obligation.HeaderSubject, m.Subject)
	add(obligation.HeaderTime, m.Time.UTC().Format(time.RFC3339Nano))
	add(obligation.HeaderSchemaVersion, strconv.Itoa(m.Version))
	add(obligation.HeaderCorrelation, m.Correlation)
	add(obligation.HeaderCausation, m.Causation)
	add(obligation.HeaderReaction, e.reaction)
	add(obligation.HeaderTraceParent, m.TraceParent)
	add(obligation.HeaderContentType, "application/json")
	if m.Subject != "" {
		r.Key = []byte(m.Subject)
	}
	return r
}

// received reads a record as an event. It never fails: a record that is no CloudEvent has the id of its place, no type,
// its key as subject and its own timestamp.
func received(r *kgo.Record) Any {
	e := Any{Payload: r.Value, Meta: Meta{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}}
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case obligation.HeaderID:
			e.ID = string(h.Value)
		case obligation.HeaderType:
			e.Type = string(h.Value)
		case obligation.HeaderSource:
			e.Source = string(h.Value)
		case obligation.HeaderSubject:
			e.Subject = string(h.Value)
		case obligation.HeaderTime:
			e.Time, _ = time.Parse(time.RFC3339Nano, string(h.Value))
		case obligation.HeaderSchemaVersion:
			e.Version, _ = strconv.Atoi(string(h.Value))
		case obligation.HeaderCorrelation:
			e.Correlation = string(h.Value)
		case obligation.HeaderCausation:
			e.Causation = string(h.Value)
		case obligation.HeaderTraceParent:
			e.TraceParent = string(h.Value)
		}
	}
	if e.ID == "" {
		e.ID = obligation.ForeignID(r.Topic, r.Partition, r.Offset)
	}
	if e.Subject == "" {
		e.Subject = string(r.Key)
	}
	if e.Correlation == "" {
		e.Correlation = e.ID
	}
	if e.Time.IsZero() {
		e.Time = r.Timestamp
	}
	return e
}

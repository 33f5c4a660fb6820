package cloudevent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// specVersion is the version of CloudEvents that the package writes.
const specVersion = "1.0"

// jsonType is the content type of all events that the framework emits.
const jsonType = "application/json"

// Event is one event: its attributes, its data, and its place in the log. If a record lacks an attribute, the field is
// empty unless its comment names another default.
type Event struct {
	// ID identifies the event among those of its source and type. The default is [ForeignID] of its place; Foreign is
	// true then.
	ID string
	// Type is the name of the fact.
	Type string
	// Source is the name of the app that emitted the event, or any URI reference.
	Source string
	// Subject is what the event is about. The default is the record's key.
	Subject string
	// Time is when the fact happened, in UTC. The default is the record's timestamp, also if the attribute does not
	// parse.
	Time time.Time
	// SchemaVersion is the version of the data's schema; 0 if the event has none, or one that is not a number.
	SchemaVersion int
	// Correlation is the id of the root event of the story, or the name of the story. The default is ID. If it is not
	// a [ValidName], it is replaced by its short form ([BoundName]); events that follow from this one carry the short
	// form.
	Correlation string
	// Causation is the id of the event whose handler emitted this one; empty for a root emission.
	Causation string
	// Reaction is the name of the reaction that emitted the event; empty for a root emission.
	Reaction string
	// TraceParent is the W3C trace context as the sender wrote it; it may be malformed (see [ValidTraceParent]).
	TraceParent string
	// ContentType is the media type of Data.
	ContentType string
	// Data is the payload. In binary mode it is the record's value, not a copy. It is nil if the record has no value,
	// or if an event in structured mode has no data.
	Data []byte

	// Topic, Partition and Offset are the place in the log of the record that the event was read from.
	Topic     string
	Partition int32
	Offset    int64

	// TopicID is the id of the record's topic. A record does not have it, so FromRecord leaves it zero. A caller that
	// needs the identity of a foreign record must set it.
	TopicID [16]byte

	// Derivation is the version of the formulas of [Cause] for events that follow from this one. FromRecord leaves it
	// zero; a caller that handles the event must set it.
	Derivation Derivation

	// Foreign reports whether the record has no event id, because a program that does not use CloudEvents wrote it.
	Foreign bool
	// NotUnderstood is why a record that claims to be a CloudEvent could not be read as one. It is empty if the
	// record could be read, or does not claim to be one. If it is not empty, the event is foreign and has no type, and
	// its data is the whole value.
	NotUnderstood string

	identity Identity // set by KeepIdentity; zero before
}

// FromRecord returns the event in a record in binary or structured mode. It does not fail: a record that is not a
// CloudEvent becomes an event without a type, whose id is its place, whose subject is its key, and whose time is its
// timestamp. So does one that claims to be a CloudEvent and cannot be read as one, as its type is absent for example, with
// the reason. Of the other attributes that CloudEvents requires, specversion and source may be absent, and the default of
// the id is its place.
//
// An empty attribute counts as absent. Of several headers with the same key, the first one that is not empty counts.
// In structured mode the attributes are those in the value, and ce_ headers are ignored.
func FromRecord(r *kgo.Record) (e Event) {
	e.Read(r)
	return e
}

// Read sets e to the event in a record, as [FromRecord] returns it. e must be the zero Event.
func (e *Event) Read(r *kgo.Record) {
	e.Topic, e.Partition, e.Offset, e.Data = r.Topic, r.Partition, r.Offset, r.Value
	spec, traceAttribute := e.readHeaders(r.Headers)
	switch {
	case isStructured(e.ContentType):
		*e = fromStructured(r, *e)
	case isEventFormat(e.ContentType):
		*e = notUnderstood(r, *e, "its content-type means a content mode that is not read: "+e.ContentType)
	case !knownSpecVersion(spec):
		*e = notUnderstood(r, *e, "its specversion is not 1.0: "+spec)
	case spec != "" && e.Type == "":
		*e = notUnderstood(r, *e, "it has a "+HeaderSpecVersion+" and no "+HeaderType)
	case !utf8.ValidString(e.Type):
		*e = notUnderstood(r, *e, notText(HeaderType, e.Type))
	case spec == "" && e.ID == "" && e.Type == "":
		if unmarked, ok := fromUnmarked(r, *e); ok {
			*e = unmarked
		}
	case e.TraceParent == "":
		e.TraceParent = traceAttribute
	}
	if e.ID == "" {
		e.Foreign = true
		e.ID = ForeignID(r.Topic, r.Partition, r.Offset)
	}
	if e.Subject == "" {
		e.Subject = string(r.Key)
	}
	if e.Correlation == "" {
		e.Correlation = e.ID
	}
	e.Correlation = BoundName(e.Correlation)
	if e.Time.IsZero() {
		e.Time = r.Timestamp.UTC()
	}
}

// readHeaders sets the attributes that stand in headers. It returns the version of CloudEvents, and the trace as senders write it that
// write every attribute in the same way.
func (e *Event) readHeaders(headers []kgo.RecordHeader) (spec, traceAttribute string) {
	var room [256]byte // of text; larger ones are allocated
	text, at := room[:0], [texts]span{}
	for i := len(headers) - 1; i >= 0; i-- {
		h := &headers[i]
		if len(h.Value) == 0 {
			continue
		}
		switch h.Key {
		case HeaderSpecVersion:
			spec = intern(h.Value, specVersion)
		case HeaderID:
			text, at[textID] = appendText(text, h.Value)
		case HeaderType:
			text, at[textType] = appendText(text, h.Value)
		case HeaderSource:
			text, at[textSource] = appendText(text, h.Value)
		case HeaderSubject:
			text, at[textSubject] = appendText(text, h.Value)
		case HeaderTime:
			e.Time = parseTime(string(h.Value))
		case HeaderSchemaVersion:
			e.SchemaVersion = parseVersion(string(h.Value))
		case HeaderCorrelation:
			text, at[textCorrelation] = appendText(text, h.Value)
		case HeaderCausation:
			text, at[textCausation] = appendText(text, h.Value)
		case HeaderReaction:
			text, at[textReaction] = appendText(text, h.Value)
		case HeaderTraceParent:
			text, at[textTraceParent] = appendText(text, h.Value)
		case headerTraceAttribute:
			traceAttribute = string(h.Value)
		case HeaderContentType:
			e.ContentType = intern(h.Value, jsonType)
		}
	}
	all := string(text) // one allocation for all of them
	of := func(i int) string { return all[at[i].begin:at[i].end] }
	e.ID, e.Type, e.Source, e.Subject = of(textID), of(textType), of(textSource), of(textSubject)
	e.Correlation, e.Causation, e.Reaction, e.TraceParent = of(textCorrelation), of(textCausation), of(textReaction), of(textTraceParent)
	return spec, traceAttribute
}

// The attributes in headers that are kept as texts.
const (
	textID = iota
	textType
	textSource
	textSubject
	textCorrelation
	textCausation
	textReaction
	textTraceParent
	texts // the number of them
)

// span is a part of a text.
type span struct{ begin, end int }

// appendText appends the value of a header to text, and returns where it is there.
func appendText(text, value []byte) ([]byte, span) {
	return append(text, value...), span{len(text), len(text) + len(value)}
}

// notUnderstood returns the event for a record that could not be read for the reason why: it has the record's place
// and data, and the content type and the trace of its headers, which are in binary.
func notUnderstood(r *kgo.Record, binary Event, why string) Event {
	return Event{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Data: r.Value, ContentType: binary.ContentType,
		TraceParent: binary.TraceParent, NotUnderstood: why}
}

// notText returns the reason why an event is not understood whose attribute is not text.
func notText(attribute, value string) string {
	return fmt.Sprintf("its %s is not valid UTF-8: %.64q", attribute, value)
}

// knownSpecVersion reports whether events with this specversion can be read: 1.x, or none at all.
func knownSpecVersion(spec string) bool {
	return spec == "" || spec == specVersion || spec == "1" || strings.HasPrefix(spec, "1.")
}

// intern returns b as a string. It does not allocate if b is equal to usual.
func intern(b []byte, usual string) string {
	if string(b) == usual {
		return usual
	}
	return string(b)
}

// Record returns a new record for topic that has the event in binary mode, with the subject as its key. The producer
// sets the record's partition, offset and timestamp. The record's value is Data, not a copy.
//
// Attributes that are empty or zero are left out, so that FromRecord gives them their defaults. So is a ContentType
// that announces an event in the value, because binary mode cannot express such data.
func (e *Event) Record(topic string) *kgo.Record { return e.RecordIn(new(RecordRoom), topic) }

// RecordRoom is the memory of a record that [Event.RecordIn] makes. The zero value is ready for use.
type RecordRoom struct {
	record  kgo.Record
	headers [maxHeaders]kgo.RecordHeader
	text    []byte
}

// maxRoomText is how many bytes of text Clear keeps, so that a long subject does not hold memory for ever.
const maxRoomText = 4 << 10

// Clear drops the record, so that its data can be collected. The memory of the headers is kept for the next one.
func (r *RecordRoom) Clear() {
	r.record = kgo.Record{}
	if cap(r.text) > maxRoomText {
		clear(r.headers[:])
		r.text = nil
	}
}

// RecordIn is like Record, but the record and its headers are in room, which must not be used again while anybody has the record.
func (e *Event) RecordIn(room *RecordRoom, topic string) *kgo.Record {
	text := attributeText{text: slices.Grow(room.text[:0], e.textBytes()), headers: room.headers[:0]}
	text.add(HeaderSpecVersion, specVersion)
	text.add(HeaderID, e.ID)
	text.add(HeaderType, e.Type)
	text.add(HeaderSource, e.Source)
	room.record = kgo.Record{Topic: topic, Value: e.Data, Key: text.add(HeaderSubject, e.Subject)}
	if !e.Time.IsZero() {
		text.end(HeaderTime, e.Time.UTC().AppendFormat(text.text, time.RFC3339Nano))
	}
	if e.SchemaVersion != 0 {
		text.end(HeaderSchemaVersion, strconv.AppendInt(text.text, int64(e.SchemaVersion), 10))
	}
	text.add(HeaderCorrelation, e.Correlation)
	text.add(HeaderCausation, e.Causation)
	text.add(HeaderReaction, e.Reaction)
	text.add(HeaderTraceParent, e.TraceParent)
	if !isEventFormat(e.ContentType) {
		text.add(HeaderContentType, e.ContentType)
	}
	room.record.Headers, room.text = text.headers, text.text
	return &room.record
}

// maxHeaders is how many headers Record writes at most.
const maxHeaders = 12

// textBytes returns a bound of the bytes of all attributes, as Record writes them.
func (e *Event) textBytes() int {
	const numbers = len(specVersion) + len(time.RFC3339Nano) + 20
	return numbers + len(e.ID) + len(e.Type) + len(e.Source) + len(e.Subject) + len(e.Correlation) + len(e.Causation) +
		len(e.Reaction) + len(e.TraceParent) + len(e.ContentType)
}

// attributeText is the headers of a record while it is made. Their values lie one after the other in one piece of memory, so that
// a record costs one allocation and not one for each attribute.
type attributeText struct {
	text    []byte
	headers []kgo.RecordHeader
}

// add adds a header, and returns its value. An empty value adds none, and nil is returned.
func (a *attributeText) add(key, value string) []byte {
	if value == "" {
		return nil
	}
	return a.end(key, append(a.text, value...))
}

// end adds a header whose value is what text has more than a.text. It returns the value.
func (a *attributeText) end(key string, text []byte) []byte {
	value := text[len(a.text):len(text):len(text)]
	a.text = text
	a.headers = append(a.headers, kgo.RecordHeader{Key: key, Value: value})
	return value
}

// ForeignID returns the id of a record that has no event id: "topic/partition/offset".
func ForeignID(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "/" + strconv.FormatInt(offset, 10)
}

// parseTime parses a time in RFC 3339 and returns it in UTC. It returns the zero time if s does not parse, or if the
// year is not in 0 to 9999, so that every time that is read can be written again.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// parseVersion returns s as a number, or 0 if s is not a decimal number.
func parseVersion(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0 // Atoi returns the nearest number if s is out of range
	}
	return n
}

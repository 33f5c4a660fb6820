package cloudevent

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// structuredType is the media type of an event in structured mode in JSON. CloudEvents requires every receiver to
// support this format, and it is the only one that the package reads.
const structuredType = eventFormats + "+json"

// eventFormats is the beginning of all media types of values that are a whole event or a batch of events.
const eventFormats = "application/cloudevents"

// isStructured reports whether contentType is structuredType. It ignores case, and parameters such as charset.
func isStructured(contentType string) bool {
	if len(contentType) < len(structuredType) { // application/json, in most records
		return false
	}
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), structuredType)
}

// isEventFormat reports whether contentType is that of a whole event or a batch of events, in any format.
func isEventFormat(contentType string) bool {
	contentType = strings.TrimLeft(contentType, " \t\r\n")
	return len(contentType) >= len(eventFormats) && strings.EqualFold(contentType[:len(eventFormats)], eventFormats)
}

// fromStructured returns the event in the value of r. binary has what the headers say: the trace is taken from it if
// the value has none. If the value is not a JSON object with a type, which is a string, or its data does not decode,
// the event is not understood.
func fromStructured(r *kgo.Record, binary Event) Event {
	var fields map[string]json.RawMessage // a map, because the fields of a struct would match names in any case
	if err := json.Unmarshal(r.Value, &fields); err != nil {
		return notUnderstood(r, binary, "its value is not the JSON of an event: "+err.Error())
	} else if fields == nil {
		return notUnderstood(r, binary, "its value is not the JSON of an event: it is null")
	}
	return fromFields(r, binary, fields)
}

// fromUnmarked returns the event in the value of a record that has no ce_ headers, and false if there is none. The
// value must be a JSON object with the four attributes that every event has. Dapr writes events in this way, as do
// other senders for which Kafka is one transport of several.
func fromUnmarked(r *kgo.Record, binary Event) (Event, bool) {
	if binary.ContentType != "" && !isJSON(binary.ContentType) {
		return Event{}, false
	}
	if v := bytes.TrimLeft(r.Value, " \t\r\n"); len(v) == 0 || v[0] != '{' || !bytes.Contains(v, quotedSpecVersion) {
		return Event{}, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.Value, &fields) != nil {
		return Event{}, false
	}
	for _, name := range []string{attributeSpecVersion, attributeID, attributeSource, attributeType} {
		if raw := fields[name]; len(raw) == 0 || raw[0] != '"' {
			return Event{}, false
		}
	}
	return fromFields(r, binary, fields), true
}

var quotedSpecVersion = []byte(`"` + attributeSpecVersion + `"`)

// fromFields returns the event whose attributes and data are the members of a JSON object. binary has what the headers
// say.
func fromFields(r *kgo.Record, binary Event, fields map[string]json.RawMessage) Event {
	if spec := attribute(fields, attributeSpecVersion); !knownSpecVersion(spec) {
		return notUnderstood(r, binary, "its specversion is not 1.0: "+spec)
	}
	e := Event{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	e.ID = attribute(fields, attributeID)
	e.Type = attribute(fields, attributeType)
	e.Source = attribute(fields, attributeSource)
	e.Subject = attribute(fields, attributeSubject)
	e.Time = parseTime(attribute(fields, attributeTime))
	e.SchemaVersion = parseVersion(attribute(fields, attributeSchemaVersion))
	e.Correlation = attribute(fields, attributeCorrelation)
	e.Causation = attribute(fields, attributeCausation)
	e.Reaction = attribute(fields, attributeReaction)
	e.TraceParent = cmp.Or(attribute(fields, attributeTraceParent), binary.TraceParent)
	e.ContentType = attribute(fields, attributeContentType)
	if raw := fields[attributeType]; e.Type == "" || raw[0] != '"' {
		return notUnderstood(r, binary, "the event in its value has no type")
	}
	for _, name := range []string{attributeType, attributeID, attributeSource} { // the decoder would make different ones equal
		if raw := fields[name]; !utf8.Valid(raw) {
			return notUnderstood(r, binary, notText(name, string(raw)))
		}
	}
	var err error
	if e.Data, err = structuredData(fields, e.ContentType); err != nil {
		return notUnderstood(r, binary, "the data_base64 of the event in its value does not decode: "+err.Error())
	}
	return e
}

// attribute returns the value of an attribute as text, or "" if it is absent, null, an object or an array. Numbers and
// booleans are returned as they are written in the JSON.
func attribute(fields map[string]json.RawMessage, name string) string {
	raw := fields[name]
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}

// structuredData returns the data of an event in structured mode. That is the decoded data_base64 if there is one, the
// text of data if data is a JSON string and the content type is not JSON, and otherwise the JSON of data. A missing
// content type means JSON. The result is nil if there is no data.
func structuredData(fields map[string]json.RawMessage, contentType string) ([]byte, error) {
	if encoded := attribute(fields, "data_base64"); encoded != "" {
		return base64.StdEncoding.DecodeString(encoded)
	}
	data := fields["data"]
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	if data[0] == '"' && !isJSON(contentType) {
		return []byte(attribute(fields, "data")), nil
	}
	return data, nil
}

// isJSON reports whether contentType is a JSON type: its subtype is json or ends in +json. An empty contentType counts
// as JSON.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	_, subtype, _ := strings.Cut(media, "/")
	return subtype == "json" || strings.HasSuffix(subtype, "+json")
}

package obligation

import (
	"strconv"
	"time"
)

// Mismatch is the record that events of one type, version and source have other fields than the Go type that a
// reaction decodes them into, as when a field was renamed in one of two programs. It is shown to people and nothing
// else depends on it. Of the records with one key the last
// counts. It has a tombstone when the reaction's type does not differ any more, or the subscription is retired.
type Mismatch struct {
	Reaction string `json:"reaction"`
	Type     string `json:"type"`
	Topic    string `json:"topic"`
	Version  int    `json:"version,omitempty"` // schema version of the events; 0 if they carry none
	Source   string `json:"source"`            // source of the events
	// Unknown are the fields that events have and the reaction's type lacks. Missing are the fields that the type has
	// and events lack, so that they are read as zero. Both are sorted. Names of nested fields are joined by dots, as
	// in "lines.sku".
	Unknown []string `json:"unknown,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Compared is the number of events that were compared with the type, of those that reactions have recorded, and Differed the
	// number of these that had, or lacked, a field. Both are 0 in records of earlier versions.
	Compared int64 `json:"compared,omitempty"`
	Differed int64 `json:"differed,omitempty"`
	// At is when a process of the reaction last found a field that it had not found before.
	At time.Time `json:"at,omitzero"`
}

// mismatchPrefix begins the keys of mismatches. Names of reactions cannot begin with it.
const mismatchPrefix = "!fields/"

// Kind implements Fact.
func (*Mismatch) Kind() string { return "mismatch" }

// RecordTopic implements Fact.
func (*Mismatch) RecordTopic() string { return SubscriptionsTopic }

// Key implements Fact.
func (m *Mismatch) Key() string {
	return mismatchPrefix + m.Reaction + "/" + m.Type + "/" + strconv.Itoa(m.Version) + "/" + m.Source
}

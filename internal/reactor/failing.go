package reactor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// The number of failed attempts of an event, and the time of the first, are kept with the progress of its partition,
// so that a restart or another instance goes on counting. They are written when chunks are: every progressEvery, and
// when the partition is given up. A crash loses the attempts since they were last written.

// failure has what is known of an event whose attempts have all failed so far.
type failure struct {
	Offset   int64     `json:"offset"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first"` // when the first attempt ended
}

// failing has the events of a partition whose attempts have all failed so far.
type failing struct {
	events  map[int64]failure // by offset; nil if there are none
	changed bool              // since the last take
}

// of returns the failures of the event at an offset; the zero value if it has not failed.
func (f *failing) of(offset int64) failure { return f.events[offset] }

// note counts a failed attempt of the event at an offset, which ended at the time at.
func (f *failing) note(offset int64, at time.Time) {
	if f.events == nil {
		f.events = make(map[int64]failure)
	}
	have, ok := f.events[offset]
	if !ok {
		have = failure{Offset: offset, First: at.UTC()}
	}
	have.Attempts++
	f.events[offset], f.changed = have, true
}

// forget removes the event at an offset, which is done.
func (f *failing) forget(offset int64) {
	if _, ok := f.events[offset]; ok {
		delete(f.events, offset)
		f.changed = true
	}
}

// take returns the events in order of their offsets, if they have changed since the last take, and otherwise false.
func (f *failing) take() (events []failure, changed bool) {
	if !f.changed {
		return nil, false
	}
	f.changed = false
	return slices.SortedFunc(maps.Values(f.events), func(a, b failure) int { return cmp.Compare(a.Offset, b.Offset) }), true
}

const (
	failingVersion = 1
	// maxFailing is the number of events that are written for one partition, which keeps the record below 60 KiB. The
	// failures of further events are counted from 0 again by the next owner.
	maxFailing = 512
)

// failingValue is the value of the record on tidings.progress, in JSON.
type failingValue struct {
	Version int       `json:"v"`
	Topic   topicID   `json:"topic_id"`
	Epoch   int64     `json:"epoch,omitempty"` // number of the last seek
	Events  []failure `json:"events"`
}

// MarshalText implements encoding.TextMarshaler. It returns the id in hexadecimal.
func (id topicID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", id[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads what MarshalText returns.
func (id *topicID) UnmarshalText(text []byte) error {
	var b []byte
	if _, err := fmt.Sscanf(string(text), "%x", &b); err != nil || len(b) != len(id) {
		return fmt.Errorf("topic id %q", text)
	}
	copy(id[:], b)
	return nil
}

// failingRecord returns the record with the failing events of a part of a round, or a tombstone if there are none.
func failingRecord(reaction string, f *finished) *kgo.Record {
	r := &kgo.Record{Topic: obligation.ProgressTopic, Key: []byte(obligation.FailingKey(reaction, f.topic, f.partition))}
	if len(f.failing) == 0 {
		return r
	}
	value, err := json.Marshal(failingValue{failingVersion, f.draft.topic, f.epoch, f.failing[:min(len(f.failing), maxFailing)]})
	if err != nil {
		panic(fmt.Sprintf("reactor: %v", err)) // a time outside the years 0 to 9999 does not encode
	}
	r.Value = value
	return r
}

// decodeFailing returns the events in the value of a failing record, without those that are done since. It returns
// none if the record is of another topic or epoch, or of an unknown version.
func decodeFailing(value []byte, topic topicID, epoch, position int64, ahead *offsets.Set) (events map[int64]failure, err error) {
	var v failingValue
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, err
	}
	if v.Version != failingVersion || v.Topic != topic || v.Epoch != epoch {
		return nil, nil
	}
	events = make(map[int64]failure)
	for _, e := range v.Events {
		if e.Offset >= position && e.Attempts > 0 && !ahead.Contains(e.Offset) {
			events[e.Offset] = e
		}
	}
	return events, nil
}

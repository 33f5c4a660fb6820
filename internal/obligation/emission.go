package obligation

import "time"

// Emission is the record that an app emits events of a type on a topic. Apps that have the type on another topic find
// it and log a warning; nothing else depends on it. Of the records with one key the last counts.
type Emission struct {
	App   string `json:"app"`
	Type  string `json:"type"`
	Topic string `json:"topic"`
	// At is when a process of the app emitted the type for the first time, or again after EmissionEvery. It is zero if that was not
	// recorded.
	At time.Time `json:"at,omitzero"`
}

const (
	// EmissionEvery is the time after which an app that goes on emitting a type records it again.
	EmissionEvery = 24 * time.Hour
	// EmissionHolds is how long an emission holds after At: an app that has not emitted the type for so long is taken to be gone.
	EmissionHolds = 30 * 24 * time.Hour
)

// Holds reports whether the app is taken to emit the type still. An emission without a time holds.
func (e *Emission) Holds(now time.Time) bool { return e.At.IsZero() || now.Sub(e.At) < EmissionHolds }

// emissionPrefix begins the keys of emissions. Names of reactions cannot begin with it.
const emissionPrefix = "!emits/"

// Kind implements Fact.
func (*Emission) Kind() string { return "emission" }

// RecordTopic implements Fact.
func (*Emission) RecordTopic() string { return SubscriptionsTopic }

// Key implements Fact.
func (e *Emission) Key() string { return emissionPrefix + e.App + "/" + e.Type }

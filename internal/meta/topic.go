// Package meta is the catalogue of topics: a pure state machine. A request is decided into a Change, the Change is
// made durable by the engine, and only then applied.
package meta

import "encoding/hex"

// TopicID is a topic's identity for ever: a topic recreated under an old name has a new one. The zero value is no topic.
type TopicID [16]byte

func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// Topic is a topic as the catalogue has it. A value is a snapshot: Configs must not be changed.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int32
	Configs    map[string]string // only what was set; Kafka's names
}

// TopicSpec asks for a topic. Partitions 0 or -1 means the broker's default.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

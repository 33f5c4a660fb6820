// Package meta implements the catalogue of topics as a state machine without I/O and without a clock. A request results
// in a [Change], which the engine makes durable and then applies.
package meta

import "encoding/hex"

// TopicID identifies a topic. If a topic is deleted and created again under the same name, it has another TopicID. No
// topic has the zero value.
type TopicID [16]byte

func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// Topic describes a topic at one moment. Later changes of the catalogue do not change it. Configs must not be changed.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int32
	Configs    map[string]string // the configurations that are set on the topic, by Kafka's names
}

// TopicSpec describes a topic that is to be created. A partition count of 0 or -1 means the broker's default.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

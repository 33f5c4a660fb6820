package obligation

import (
	"strconv"
	"time"
)

// NotUnderstood is the record that a reaction has passed over records of a partition that claim to be CloudEvents and cannot be
// read as such. Of the records with one key the last counts. It is shown to people and nothing depends on it. It has a tombstone
// when the subscription is retired.
type NotUnderstood struct {
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"` // zero if the log does not have topic ids
	Partition int32   `json:"partition"`
	// Count is the number of such records up to Last. A record that is read again, by another instance for example, counts once.
	Count int64 `json:"count"`
	// First and Last are the records of the lowest and the highest offset that were counted.
	First NotUnderstoodRecord `json:"first"`
	Last  NotUnderstoodRecord `json:"last"`
}

// NotUnderstoodRecord is one record that cannot be read as a CloudEvent.
type NotUnderstoodRecord struct {
	Offset int64     `json:"offset"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at,omitzero"` // when the reaction read it
}

// notUnderstoodPrefix begins the keys of NotUnderstood. Names of reactions cannot begin with it.
const notUnderstoodPrefix = "!unread/"

// Kind implements Fact.
func (*NotUnderstood) Kind() string { return "not_understood" }

// RecordTopic implements Fact.
func (*NotUnderstood) RecordTopic() string { return SubscriptionsTopic }

// Key implements Fact.
func (n *NotUnderstood) Key() string {
	return notUnderstoodPrefix + n.Reaction + "/" + n.Topic + "/" + strconv.Itoa(int(n.Partition))
}

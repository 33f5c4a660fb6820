package obligation

// Derivation is the record of the formula by which ids are derived from events of a partition: the ids of events that
// the reaction emits for them, and their idempotency keys. It holds for events from the offset From on. For lower
// offsets, and for a partition without such a record, the formula is version 1, which earlier versions of the
// framework use. The record is appended once for each partition, before an event that it holds for is handled, and
// never changes: an event that is handled again must have the same ids.
type Derivation struct {
	Reaction  string `json:"reaction"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// TopicID is the id of the topic that the record is about. The record does not hold for another topic of the same
	// name.
	TopicID TopicID `json:"topic_id"`
	// Version is the version of the formula; 2 or more.
	Version int `json:"version"`
	// From is the first offset that the record holds for.
	From int64 `json:"from"`
}

// Kind implements Fact.
func (*Derivation) Kind() string { return "derivation" }

// RecordTopic implements Fact.
func (*Derivation) RecordTopic() string { return SubscriptionsTopic }

// Key implements Fact.
func (d *Derivation) Key() string { return partitionKey(d.Reaction, d.Topic, d.Partition) }

package obligation

import "strings"

// The framework's own topics. Each has one partition, so that all readers see its records in the same order.
const (
	SubscriptionsTopic = "tidings.subscriptions" // Subscription, Derivation, Emission, Mismatch; compacted
	ReactionsTopic     = "tidings.reactions"     // Marks, Retrying, Running, Seek
	StoryTopic         = "tidings.story"         // Settled, Reopened
)

// TopicSpec says how a topic is made.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string // by the names that Kafka gives them; must not be changed
}

// Topics returns how the framework's own topics are made, by the first program that needs one of them. A topic that
// exists stays as it is.
func Topics() []TopicSpec {
	// What was answered, or has expired, is of no use after a month.
	control := map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "2592000000", "message.timestamp.type": "LogAppendTime"}
	forever := map[string]string{"retention.ms": "-1", "retention.bytes": "-1"}
	return []TopicSpec{
		{Name: SubscriptionsTopic, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}},
		{Name: ReactionsTopic, Partitions: 1, Configs: forever},
		{Name: StoryTopic, Partitions: 1, Configs: forever},
		{Name: ProgressTopic, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}},
		{Name: ControlTopic, Partitions: 1, Configs: control},
		{Name: QuestionsTopic, Partitions: 1, Configs: map[string]string{"retention.ms": "3600000"}},
	}
}

// Internal reports whether a topic has no events of applications: it is one of the framework's own topics, or one of
// Kafka's.
func Internal(topic string) bool {
	return strings.HasPrefix(topic, "tidings.") || strings.HasPrefix(topic, "__")
}

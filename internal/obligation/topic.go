package obligation

import "strings"

// The framework's own topics. Each has one partition, so that what is written there has one order for everybody.
const (
	SubscriptionsTopic = "tidings.subscriptions" // Subscription, compacted
	ReactionsTopic     = "tidings.reactions"     // Marks, Retrying, Seek
	StoryTopic         = "tidings.story"         // Settled, Reopened
)

// TopicSpec is what a topic is created with. Configs has Kafka's names and must not be changed.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

// Topics are the three topics as they are to be created by whoever needs one of them first. A topic that exists
// already is right as it is.
func Topics() []TopicSpec {
	forever := map[string]string{"retention.ms": "-1", "retention.bytes": "-1"}
	return []TopicSpec{
		{Name: SubscriptionsTopic, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}},
		{Name: ReactionsTopic, Partitions: 1, Configs: forever},
		{Name: StoryTopic, Partitions: 1, Configs: forever},
	}
}

// Internal tells whether a topic carries no events of an application: the framework's own topics, and those that
// Kafka keeps for itself.
func Internal(topic string) bool {
	return strings.HasPrefix(topic, "tidings.") || strings.HasPrefix(topic, "__")
}

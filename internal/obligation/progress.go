package obligation

import "strconv"

// ProgressTopic is the compacted topic with what reactions have done ahead of their positions, if that is too much for
// the metadata of a commit, and with the events that are failing. Package reactor defines the values of its records,
// and is the only reader.
const ProgressTopic = "tidings.progress"

// ProgressKey returns the key of the record on ProgressTopic that has one chunk of a partition's progress.
func ProgressKey(reaction, topic string, partition int32, chunk int64) string {
	return partitionKey(reaction, topic, partition) + "/" + strconv.FormatInt(chunk, 10)
}

// FailingKey returns the key of the record on ProgressTopic that has the failing events of a partition.
func FailingKey(reaction, topic string, partition int32) string {
	return partitionKey(reaction, topic, partition) + "/failing"
}

// ProgressPrefix returns the common prefix of the keys of all chunks of a partition.
func ProgressPrefix(reaction, topic string, partition int32) string {
	return partitionKey(reaction, topic, partition) + "/"
}

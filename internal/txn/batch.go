package txn

import "tidings.dev/internal/batch"

// BatchOf returns the fields of a record batch that concern its producer.
func BatchOf(v batch.View) Batch {
	return Batch{ProducerID: v.ProducerID(), Epoch: v.ProducerEpoch(), BaseSequence: v.BaseSequence(), Count: v.Count()}
}

// AppendTimeMS returns the log append time that a producer is told for a batch, in milliseconds since the Unix epoch.
// It is -1 if the topic has message.timestamp.type=CreateTime.
func AppendTimeMS(v batch.View) int64 {
	if v.LogAppendTime() {
		return v.MaxTimestamp()
	}
	return -1
}

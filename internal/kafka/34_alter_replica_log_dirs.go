package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// AlterReplicaLogDirs (API key 34), versions 1–2. There is one log directory, in which every partition is already.

// alterReplicaLogDirs answers that a partition is where it shall be, or that there is no such directory.
func (c *conn) alterReplicaLogDirs(r *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	for _, dir := range r.Dirs {
		for _, t := range dir.Topics {
			topic, known := c.server.engine.Topic(t.Topic)
			row := kmsg.AlterReplicaLogDirsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				code := none
				switch {
				case dir.Dir != c.server.config.DataDir:
					code = logDirNotFound
				case !known || !within(topic, p):
					code = unknownTopicOrPartition
				}
				row.Partitions = append(row.Partitions, kmsg.AlterReplicaLogDirsResponseTopicPartition{Partition: p, ErrorCode: code})
			}
			resp.Topics = append(resp.Topics, row)
		}
	}
	return resp
}

package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// DescribeLogDirs (API key 35), versions 1–4. There is one log directory.
//
// Deviations from Apache Kafka: the space on the disk is not told (−1); the size of a partition is that of its batches,
// without indexes.

// describeLogDirs answers with the sizes of the partitions that the request names, or of all.
func (c *conn) describeLogDirs(r *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = c.server.config.DataDir, -1, -1
	describe := func(t meta.Topic, partitions func(yield func(int32) bool)) {
		row := kmsg.DescribeLogDirsResponseDirTopic{Topic: t.Name}
		for p := range partitions {
			size, err := c.server.engine.SizeBytes(engine.Partition{Topic: t.ID, Index: p})
			if err != nil {
				continue // as in Apache Kafka, what is not in the directory is left out
			}
			row.Partitions = append(row.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{Partition: p, Size: size})
		}
		if len(row.Partitions) > 0 {
			dir.Topics = append(dir.Topics, row)
		}
	}
	if r.Topics == nil {
		for _, t := range c.server.engine.Topics() {
			describe(t, func(yield func(int32) bool) {
				for p := range t.Partitions {
					if !yield(p) {
						return
					}
				}
			})
		}
	}
	for _, ask := range r.Topics {
		if t, ok := c.server.engine.Topic(ask.Topic); ok {
			describe(t, slices.Values(ask.Partitions))
		}
	}
	resp.Dirs = []kmsg.DescribeLogDirsResponseDir{dir}
	return resp
}

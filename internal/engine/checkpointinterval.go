package engine

import "sync/atomic"

// checkpointInterval decides how many bytes are journaled between the beginnings of two checkpoints. A checkpoint costs
// one sync for each partition that was appended to since the last checkpoint, even if the append was small. With many
// such partitions checkpoints are therefore taken less often: with up to 256 of them the interval is
// Config.CheckpointBytes, above that it grows in proportion to their number, and from 1,024 on it is four times
// Config.CheckpointBytes. A still larger interval would make recovery slow.
type checkpointInterval struct {
	minBytes   int64         // Config.CheckpointBytes
	generation atomic.Uint64 // number of checkpoints that have begun
	dirtyLogs  atomic.Int64  // number of partitions that were appended to since the last checkpoint began
}

const (
	partsWithinMinInterval = 256
	maxIntervalFactor      = 4
)

// bytes returns the current interval in bytes, which is in [minBytes, maxBytes()].
func (i *checkpointInterval) bytes() int64 {
	return min(max(i.minBytes, i.minBytes/partsWithinMinInterval*i.dirtyLogs.Load()), i.maxBytes())
}

// maxBytes returns the upper bound of the interval in bytes.
func (i *checkpointInterval) maxBytes() int64 { return maxIntervalFactor * i.minBytes }

// recordAppend counts the partition p as appended to, once between two checkpoints. Only the committing goroutine calls
// it.
func (i *checkpointInterval) recordAppend(p *part) {
	if generation := i.generation.Load() + 1; p.dirtyGeneration != generation {
		p.dirtyGeneration = generation
		i.dirtyLogs.Add(1)
	}
}

// begin starts the next interval. checkpoint calls it when a checkpoint begins.
func (i *checkpointInterval) begin() {
	i.generation.Add(1)
	i.dirtyLogs.Store(0)
}

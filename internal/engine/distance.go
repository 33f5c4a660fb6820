package engine

import "sync/atomic"

// distance is how much of the journal lies between the beginnings of two checkpoints. A checkpoint costs a sync for each
// partition that was appended to, however little: with many of these it is put off, so that each sync brings down enough
// to be worth it. With up to 256 of them, the distance is Config.CheckpointBytes; from 1,024 on, four times that. More
// would make the next start long.
type distance struct {
	leastBytes int64
	round      atomic.Uint64 // of checkpoints begun
	dirty      atomic.Int64  // partitions appended to in this round
}

const (
	partsWithinLeast = 256
	maxDistanceTimes = 4
)

func (d *distance) bytes() int64 {
	return min(max(d.leastBytes, d.leastBytes/partsWithinLeast*d.dirty.Load()), d.maxBytes())
}

func (d *distance) maxBytes() int64 { return maxDistanceTimes * d.leastBytes }

// appendedTo notes an append to a partition. It runs on the goroutine that commits.
func (d *distance) appendedTo(p *part) {
	if round := d.round.Load() + 1; p.dirtyIn != round {
		p.dirtyIn = round
		d.dirty.Add(1)
	}
}

// begin begins a round: a checkpoint brings down what was appended to until now.
func (d *distance) begin() {
	d.round.Add(1)
	d.dirty.Store(0)
}

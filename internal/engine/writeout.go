package engine

import (
	"fmt"
	"time"

	"tidings.dev/internal/datadir"
)

// How a checkpoint makes segments durable while the journal uses the same disk (docs/adr/0005-checkpoint-writeback.md).
// Partitions are handled in groups. The unsynced data of a group is sent to the disk and awaited, and then the files
// are synced, so that the file system's commit for the first sync covers the others. After each group the checkpoint
// pauses and leaves the disk to the journal.
const (
	// groupParts is the largest number of partitions in a group.
	groupParts = 8
	// groupBytes is the largest amount of data in a group, and of one partition's data that is sent at once. A sync of
	// the journal may have to wait for that amount.
	groupBytes  = 2 << 20
	pauseFactor = 3 // a pause is at most this many times as long as the work before it
	minPause    = 100 * time.Microsecond
	maxPause    = 50 * time.Millisecond
)

// makeDurable syncs what the logs of parts contain at the time of the call, or more, and returns the state of each
// partition for a checkpoint. If paced is true, it pauses between groups. Only checkpoint calls it.
func (m *maintenance) makeDurable(parts []*part, paced bool) ([]datadir.PartitionCheckpoint, error) {
	durable := make([]datadir.PartitionCheckpoint, 0, len(parts))
	for len(parts) > 0 {
		if err := m.writeOutLarge(parts[0], paced); err != nil {
			return nil, err
		}
		began := time.Now()
		group := firstGroup(parts)
		for _, step := range []func(*part) error{
			func(p *part) error { _, err := p.writeOut(groupBytes); return err },
			(*part).awaitWriteOut,
			func(p *part) error {
				pc, err := p.checkpoint()
				durable = append(durable, pc)
				return err
			},
		} {
			for _, p := range group {
				if err := step(p); err != nil {
					return nil, fmt.Errorf("engine: checkpoint of partition %s/%d: %w", p.id.Topic, p.id.Index, err)
				}
			}
		}
		parts = parts[len(group):]
		if paced {
			m.pauseAfter(time.Since(began))
		}
	}
	return durable, nil
}

// writeOutLarge sends a partition's unsynced data to the disk, piece by piece, until no more than groupBytes is left.
// Data that is appended meanwhile does not count.
func (m *maintenance) writeOutLarge(p *part, paced bool) error {
	for left := p.log.WriteOutBacklog() - groupBytes; left > 0; {
		began := time.Now()
		sent, err := p.writeOut(groupBytes)
		if err == nil {
			err = p.awaitWriteOut()
		}
		if err != nil {
			return fmt.Errorf("engine: checkpoint of partition %s/%d: %w", p.id.Topic, p.id.Index, err)
		}
		if sent == 0 {
			return nil // retention has removed the data
		}
		left -= sent
		if paced {
			m.pauseAfter(time.Since(began))
		}
	}
	return nil
}

// firstGroup returns the first elements of parts that are made durable together. There is at least one; together they
// have at most groupBytes of unsynced data, unless the first has more.
func firstGroup(parts []*part) []*part {
	n, unsent := 1, parts[0].log.WriteOutBacklog()
	for n < min(len(parts), groupParts) {
		if unsent += parts[n].log.WriteOutBacklog(); unsent > groupBytes {
			break
		}
		n++
	}
	return parts[:n]
}

// writeOut writes the log's unwritten batches to segment files and starts to send up to limitBytes of unsynced data to
// the disk. It returns how many bytes it has started to send.
func (p *part) writeOut(limitBytes int64) (int64, error) {
	p.io.Lock()
	defer p.io.Unlock()
	return p.log.WriteOut(limitBytes)
}

// awaitWriteOut blocks until the data that writeOut has sent is on the disk. The data is durable only after a sync.
func (p *part) awaitWriteOut() error {
	p.io.Lock()
	defer p.io.Unlock()
	return p.log.AwaitWriteOut()
}

// checkpoint syncs the written data of the partition and returns the partition's state for a checkpoint.
func (p *part) checkpoint() (datadir.PartitionCheckpoint, error) {
	pc := datadir.PartitionCheckpoint{ID: p.id}
	p.io.Lock()
	err := p.log.SyncWritten()
	pc.State = p.log.State()
	p.io.Unlock()

	p.assign.Lock()
	defer p.assign.Unlock()
	pc.ProducersEnd, pc.Producers = p.next, p.producers.Encode()
	return pc, err
}

// pauseAfter sleeps after work that used the disk for the duration took, so that the journal has the disk for itself.
// The pause gets shorter as the journal fills up towards the next checkpoint, because then it matters more that this
// checkpoint ends.
func (m *maintenance) pauseAfter(took time.Duration) {
	filled := float64(m.pendingBytes.Load()) / float64(m.interval.bytes())
	pause := min(time.Duration(float64(took)*pauseFactor*(1-2*filled)), maxPause)
	if took < minPause || pause < minPause { // there was no work to do, or there is no time for a pause
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.engine.life.closing:
	}
}

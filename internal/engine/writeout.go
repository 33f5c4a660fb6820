package engine

import (
	"fmt"
	"time"
)

// How a checkpoint makes segments durable beside a journal that shares their disk (docs/adr/0005-checkpoint-writeback.md):
// some partitions together are sent to the disk, awaited, and then synced, so that what the file system commits for the
// first of them covers the others; then the disk is left to the journal for longer than it was taken.
const (
	groupParts = 8
	groupBytes = 2 << 20 // a piece of a large partition isn't larger either: a sync of the journal may have to wait for one
	restTimes  = 3       // how many times as long as a group took the disk is left alone
	minRest    = 100 * time.Microsecond
	maxRest    = 50 * time.Millisecond
)

// makeDurable syncs what the partitions' logs hold now, or more, and returns what a checkpoint must say of them.
func (e *Engine) makeDurable(parts []*part, paced bool) ([]partCheckpoint, error) {
	durable := make([]partCheckpoint, 0, len(parts))
	for len(parts) > 0 {
		if err := e.sendLarge(parts[0], paced); err != nil {
			return nil, err
		}
		began := time.Now()
		group := nextGroup(parts)
		for _, do := range []func(*part) error{
			func(p *part) error { _, err := p.writeOut(groupBytes); return err },
			(*part).awaitWriteOut,
			func(p *part) error {
				pc, err := p.checkpoint()
				durable = append(durable, pc)
				return err
			},
		} {
			for _, p := range group {
				if err := do(p); err != nil {
					return nil, fmt.Errorf("engine: checkpoint of partition %s/%d: %w", p.id.Topic, p.id.Index, err)
				}
			}
		}
		parts = parts[len(group):]
		if paced {
			e.rest(time.Since(began))
		}
	}
	return durable, nil
}

// sendLarge sends a partition to the disk piece by piece until what is left of it fits into a group. It does not run
// after what is appended meanwhile.
func (e *Engine) sendLarge(p *part, paced bool) error {
	for left := p.log.Unsent() - groupBytes; left > 0; {
		began := time.Now()
		sent, err := p.writeOut(groupBytes)
		if err == nil {
			err = p.awaitWriteOut()
		}
		if err != nil {
			return fmt.Errorf("engine: checkpoint of partition %s/%d: %w", p.id.Topic, p.id.Index, err)
		}
		if sent == 0 {
			return nil // retention was faster
		}
		left -= sent
		if paced {
			e.rest(time.Since(began))
		}
	}
	return nil
}

// nextGroup is the first partition and those after it that go together with it.
func nextGroup(parts []*part) []*part {
	n, unsent := 1, parts[0].log.Unsent()
	for n < min(len(parts), groupParts) {
		if unsent += parts[n].log.Unsent(); unsent > groupBytes {
			break
		}
		n++
	}
	return parts[:n]
}

// writeOut writes the log's unwritten batches and sends up to limitBytes to the disk; it returns how many these are.
func (p *part) writeOut(limitBytes int64) (int64, error) {
	p.io.Lock()
	defer p.io.Unlock()
	return p.log.WriteOut(limitBytes)
}

func (p *part) awaitWriteOut() error {
	p.io.Lock()
	defer p.io.Unlock()
	return p.log.AwaitWriteOut()
}

// checkpoint syncs what is written of one partition and returns what the checkpoint must say of it.
func (p *part) checkpoint() (partCheckpoint, error) {
	pc := partCheckpoint{id: p.id}
	p.io.Lock()
	err := p.log.SyncWritten()
	pc.state = p.log.State()
	p.io.Unlock()

	p.assign.Lock()
	defer p.assign.Unlock()
	pc.producersAt, pc.producers = p.next, p.producers.Encode()
	return pc, err
}

// rest leaves the disk to the journal after it was taken for some time: the less, the closer the journal comes to the
// next checkpoint, since then the sooner this one ends, the better.
func (e *Engine) rest(took time.Duration) {
	ahead := float64(e.pending.Load()) / float64(e.distance.bytes())
	pause := min(time.Duration(float64(took)*restTimes*(1-2*ahead)), maxRest)
	if took < minRest || pause < minRest { // nothing was to be done, or there is no time
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.closing:
	}
}

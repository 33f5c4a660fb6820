package doctor

import (
	"errors"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// rebuildJournal writes a new journal from all entries that can be read and applied. It applies each entry to an
// engine.Replay over an overlay, to find out whether it can be applied, before it writes the entry.
func (r *repairer) rebuildJournal() error {
	j, err := journal.Create(r.fs, path.Join(r.staging, datadir.JournalDir), r.checkpoint.Boundary, journal.Options{FileBytes: 1 << 20})
	if err != nil {
		return err
	}
	b := journalRebuild{repairer: r, journal: j, strays: map[datadir.Partition][]batch.View{}, deleted: map[meta.TopicID]bool{}}
	err = b.run()
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	r.moveAside(datadir.JournalDir)
	r.moveIn(datadir.JournalDir)
	return nil
}

// journalRebuild is the state of rebuildJournal.
type journalRebuild struct {
	*repairer
	journal *journal.Journal
	replay  *engine.Replay
	last    journal.LSN // LSN of the last entry that was passed to apply
	broken  bool        // entries are missing before the current one
	// strays are the batches in segments after the end that the checkpoint states for the partition.
	strays  map[datadir.Partition][]batch.View
	deleted map[meta.TopicID]bool
}

func (b *journalRebuild) run() error {
	overlay := vfs.NewOverlay(b.fs)
	for _, mv := range b.plan.moves { // the plan contains only moves of segments and indexes so far
		if mv.to == "" {
			if err := overlay.RemoveAll(mv.from); err != nil {
				return err
			}
		} else if err := overlay.Rename(mv.from, mv.to); err != nil {
			return err
		}
	}
	var err error
	if b.replay, err = engine.NewReplay(overlay, b.checkpoint); err != nil {
		return err
	}
	defer b.replay.Close()
	for _, p := range b.checkpoint.Partitions {
		if b.strays[p.ID], err = partition.Leftovers(b.fs, p.ID.Dir(), p.State); err != nil {
			return err
		}
	}
	b.last = b.checkpoint.Boundary
	found, err := journal.Salvage(b.fs, datadir.JournalDir, b.checkpoint.Boundary, b.apply)
	if err != nil {
		return err
	}
	for _, gap := range found.Lost {
		b.lose("entries of the journal: %s (%d)", formatRange(gap.First, gap.Last), gap.Last-gap.First+1)
	}
	if err := b.reportLostEnd(found.Last); err != nil {
		return err
	}
	for _, p := range b.checkpoint.Partitions {
		if err := b.adoptStrays(p.ID, math.MaxInt64); err != nil {
			return err
		}
	}
	if err := b.reviveOrphans(); err != nil {
		return err
	}
	// Raised leader epochs make clients notice that records which they were served may be gone. Blocks of producer ids
	// may be lost too, so ids are skipped.
	if err := b.write(datadir.KindEpoch, datadir.EncodeEpoch(b.replay.Epoch()+1)); err != nil {
		return err
	}
	block, err := datadir.EncodeSkippedProducerIDs(b.replay.ProducerIDs(), time.Now())
	if err != nil {
		return err
	}
	return b.write(datadir.KindProducerIDs, block)
}

// reportLostEnd notes a loss if the damaged journal had entries after the last one that could be read.
func (b *journalRebuild) reportLostEnd(last journal.LSN) error {
	found, err := journal.Inspect(b.fs, datadir.JournalDir, b.checkpoint.Boundary)
	if errors.Is(err, fs.ErrNotExist) {
		b.broken = true
		b.lose("whatever the journal held after entry %d: all of it is missing", last)
		return nil
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found.Damage, func(d *journal.CorruptError) bool {
		isThere := slices.ContainsFunc(found.Files, func(f journal.InspectedFile) bool { return f.Name == d.File })
		return d.LSN > last || !isThere
	}) {
		b.broken = true
		b.lose("whatever the journal held after entry %d: how much that was can't be known", last)
	}
	return nil
}

// reviveOrphans creates topics again for directories that contain records although no entry creates their topic, if
// entries of the journal may be lost.
func (b *journalRebuild) reviveOrphans() error {
	if !b.broken {
		return nil
	}
	for _, dir := range b.in.orphans {
		id, _ := datadir.ParseTopicID(path.Base(dir))
		if _, known := b.replay.Topic(id); known || b.deleted[id] {
			continue
		}
		infos, err := b.fs.List(dir)
		if err != nil {
			return err
		}
		for _, i := range infos {
			n, err := strconv.ParseUint(i.Name, 10, 31)
			if err != nil || !i.Dir || n >= meta.MaxPartitions {
				continue
			}
			p := datadir.Partition{Topic: id, Index: int32(n)}
			if b.strays[p], err = partition.Leftovers(b.fs, p.Dir(), partition.State{}); err != nil {
				return err
			}
			if len(b.strays[p]) == 0 {
				continue
			}
			if err := b.revive(p); err != nil {
				return err
			}
			if err := b.adoptStrays(p, math.MaxInt64); err != nil {
				return err
			}
		}
	}
	return nil
}

// adoptStrays writes the stray batches of a partition from the partition's end up to the offset to, exclusive, to the
// new journal.
func (b *journalRebuild) adoptStrays(id datadir.Partition, to int64) error {
	for _, v := range b.strays[id] {
		end, _, ok := b.replay.End(id)
		if !ok {
			return nil
		}
		if v.BaseOffset() < end || v.NextOffset() > to {
			continue
		}
		var head [datadir.BatchesHeadSize]byte
		datadir.PutBatchesHead(&head, id, time.Now().UnixMilli())
		payload := head[:]
		if v.BaseOffset() > end {
			payload = b.appendGap(payload, id, end, v.BaseOffset())
		}
		payload = append(payload, v...)
		if err := b.replay.Apply(0, datadir.KindBatches, payload); err != nil {
			return err
		}
		b.plan.restored += int64(v.LastOffsetDelta()) + 1
		if err := b.write(datadir.KindBatches, payload); err != nil {
			return err
		}
	}
	return nil
}

// appendGap appends to dst empty batches that cover the lost offsets [from, to), and notes the loss.
func (b *journalRebuild) appendGap(dst []byte, id datadir.Partition, from, to int64) []byte {
	name := id.Topic.String()
	if t, ok := b.replay.Topic(id.Topic); ok {
		name = t.Name
	}
	b.lose("records of topic %s, partition %d: offsets %s (they stood in the journal)", name, id.Index, formatRange(from, to-1))
	_, epoch, _ := b.replay.End(id)
	for at := from; at < to; {
		last := min(to, at+1<<31) - 1 // one batch covers at most 2^31 offsets
		dst = batch.AppendGap(dst, at, last, epoch)
		at = last + 1
	}
	return dst
}

// apply writes an entry of the damaged journal to the new one, if it can be applied after the entries before it.
func (b *journalRebuild) apply(lsn journal.LSN, kind journal.Kind, payload []byte) error {
	b.broken = b.broken || lsn != b.last+1
	b.last = lsn
	payload = slices.Clone(payload)
	switch kind {
	case datadir.KindBatches:
		var err error
		if payload, err = b.bridge(payload); err != nil {
			b.lose("entry %d of the journal: %v", lsn, err)
			return nil
		}
	case datadir.KindEnd:
		if err := b.bridgeMarkers(payload); err != nil {
			b.lose("entry %d of the journal: %v", lsn, err)
			return nil
		}
	case datadir.KindChange:
		if change, err := meta.DecodeChange(payload); err == nil && change.Kind == meta.Deleted {
			b.deleted[change.Topic.ID] = true
		}
	}
	if err := b.replay.Apply(lsn, kind, payload); err != nil {
		b.lose("entry %d of the journal can't be applied: %v", lsn, err)
		return nil
	}
	return b.write(kind, payload)
}

// write appends an entry to the new journal. The journal keeps payload.
func (b *journalRebuild) write(kind journal.Kind, payload []byte) error {
	_, err := b.journal.Append(journal.Entry{Kind: kind, Payload: [][]byte{payload}})
	return err
}

// bridge returns payload, a payload of batches, with a gap before the batches if they begin after the end of their
// partition. If the entry that created the partition is lost, bridge creates the partition.
func (b *journalRebuild) bridge(payload []byte) ([]byte, error) {
	id, _, records, err := datadir.ParseBatches(payload)
	if err != nil || !b.broken {
		return payload, err
	}
	_, _, known := b.replay.End(id)
	if !known && !b.deleted[id.Topic] {
		if err := b.revive(id); err != nil {
			return payload, err
		}
		_, _, known = b.replay.End(id)
	}
	if !known {
		return payload, nil
	}
	first := batch.View(records)
	if err := b.adoptStrays(id, first.BaseOffset()); err != nil {
		return payload, err
	}
	end, _, _ := b.replay.End(id)
	if first.BaseOffset() <= end {
		return payload, nil
	}
	head := slices.Clone(payload[:datadir.BatchesHeadSize])
	return append(b.appendGap(head, id, end, first.BaseOffset()), records...), nil
}

// bridgeMarkers writes a gap to the new journal for each partition that ends before the transaction marker that payload, the
// end of a transaction, has for it.
func (b *journalRebuild) bridgeMarkers(payload []byte) error {
	end, err := datadir.DecodeEnd(payload)
	if err != nil || !b.broken {
		return err
	}
	for _, m := range end.Markers {
		var head [datadir.BatchesHeadSize]byte
		datadir.PutBatchesHead(&head, m.Partition, end.AtMS)
		bridged, err := b.bridge(append(head[:], m.Batch...))
		if err != nil {
			return err
		}
		gap := bridged[:len(bridged)-len(m.Batch)]
		if len(gap) == len(head) {
			continue
		}
		if err := b.replay.Apply(0, datadir.KindBatches, gap); err != nil {
			return err
		}
		if err := b.write(datadir.KindBatches, gap); err != nil {
			return err
		}
	}
	return nil
}

// revive creates a partition of which the journal has batches but no longer the creation.
func (b *journalRebuild) revive(id datadir.Partition) error {
	change := meta.Change{Kind: meta.Created, Topic: meta.Topic{Name: recoveredName(id.Topic), ID: id.Topic, Partitions: id.Index + 1}}
	if t, ok := b.replay.Topic(id.Topic); ok {
		if t.Partitions > id.Index {
			return nil
		}
		t.Partitions = id.Index + 1
		change = meta.Change{Kind: meta.Grown, Topic: t}
	} else {
		b.lose("the name and the configuration of a topic: it is %s now", change.Topic.Name)
	}
	payload := change.Encode()
	if err := b.replay.Apply(0, datadir.KindChange, payload); err != nil {
		return err
	}
	return b.write(datadir.KindChange, payload)
}

// recoveredName returns the name that a repair gives to a topic whose own name is lost.
func recoveredName(id meta.TopicID) string { return "recovered-" + id.String() }

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path"
	"slices"
	"strconv"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// MendOptions say what of a data directory is to be written anew.
type MendOptions struct {
	Partitions []Partition // those of which segments are damaged
	Indexes    []string    // files
	Journal    bool        // it is damaged
}

// Move takes a file or directory to another place. An empty To means: out of the way.
type Move struct{ From, To string }

// Mended is what Mend has prepared. Done in order, with nobody there, the moves turn the damaged directory into one that
// opens.
type Mended struct {
	Moves    []Move
	Lost     []string // what can't be brought back, one sentence each
	Restored int64    // offsets whose records were damaged in a segment and whole in the journal
}

// Mend writes to a staging directory what must replace damaged parts of a data directory, and leaves these as they are.
// What can still be read keeps its place: records their offsets, positions their groups. Gaps stand for what is lost, so
// that no offset is ever given a second time. in is what Inspect has just found.
//
//   - A damaged segment is written anew: sound batches, those that the journal still has, gaps.
//   - A damaged journal is written anew: every entry that can still be read, wherever its frame stands. Where entries
//     are missing, partitions that go on behind them get a gap, and topics that nobody remembers a name.
//   - Without a whole checkpoint one is put together from the segments and the journal (reconstruct.go).
func Mend(fsys vfs.FS, staging string, in Inspection, o MendOptions) (Mended, error) {
	m := mending{fs: fsys, staging: staging, in: in}
	if err := m.run(o); err != nil {
		return Mended{}, fmt.Errorf("engine: mend: %w", err)
	}
	return m.out, nil
}

type mending struct {
	fs      vfs.FS
	staging string
	in      Inspection
	c       *checkpoint
	changed bool // c is not the one that is there
	out     Mended
}

func (m *mending) run(o MendOptions) error {
	if err := m.fs.MkdirAll(m.staging); err != nil {
		return err
	}
	damaged := map[Partition]bool{}
	for _, id := range o.Partitions {
		damaged[id] = true
	}
	if m.in.Used >= 0 {
		file := m.in.Checkpoints[m.in.Used].File
		content, err := vfs.ReadFile(m.fs, file)
		if err != nil {
			return err
		}
		if m.c, err = decodeCheckpoint(file, content); err != nil {
			return err
		}
	} else {
		if err := m.reconstruct(damaged); err != nil {
			return err
		}
		m.changed, o.Journal = true, true
	}
	if len(damaged) > 0 {
		if err := m.mendPartitions(damaged); err != nil {
			return err
		}
		m.changed = true
	}
	if err := m.mendIndexes(o.Indexes, damaged); err != nil {
		return err
	}
	if o.Journal {
		if err := m.mendJournal(); err != nil {
			return err
		}
	}
	return m.replaceCheckpoints(o.Journal)
}

// aside and place note moves.
func (m *mending) aside(name string) { m.out.Moves = append(m.out.Moves, Move{From: name}) }

func (m *mending) place(name string) {
	m.out.Moves = append(m.out.Moves, Move{From: path.Join(m.staging, name), To: name})
}

func (m *mending) lost(format string, args ...any) {
	m.out.Lost = append(m.out.Lost, fmt.Sprintf(format, args...))
}

// mendPartitions writes damaged segments anew.
func (m *mending) mendPartitions(damaged map[Partition]bool) error {
	starts, names := map[Partition]int64{}, map[Partition]string{}
	for _, p := range m.in.Partitions {
		starts[p.ID], names[p.ID] = p.Start, p.Topic
	}
	known := map[Partition][]batch.View{}
	err := journaled(m.fs,
		func(id Partition, v batch.View) bool { return damaged[id] },
		func(id Partition, v batch.View) { known[id] = append(known[id], v) })
	if err != nil {
		return err
	}
	var elsewhere []string // where a segment may stand that isn't in its place
	for _, p := range m.c.parts {
		if damaged[p.id] {
			for _, f := range partition.FilesOf(p.state) {
				if !f.Index {
					elsewhere = append(elsewhere, path.Join(partDir(p.id), f.Name))
				}
			}
		}
	}
	for i := range m.c.parts {
		p := &m.c.parts[i]
		if !damaged[p.id] {
			continue
		}
		dir := partDir(p.id)
		mended, err := partition.Mend(m.fs, dir, path.Join(m.staging, dir), p.state, partition.Sources{
			Files: elsewhere,
			Find: func(first, last int64) []batch.View {
				var within []batch.View
				for _, v := range known[p.id] {
					if v.BaseOffset() >= first && v.LastOffset() <= last {
						within = append(within, v)
					}
				}
				return within
			},
		})
		if err != nil {
			return err
		}
		p.state = mended.State
		m.out.Restored += mended.Restored
		for _, name := range mended.Aside {
			m.aside(path.Join(dir, name))
		}
		for _, name := range mended.New {
			m.place(path.Join(dir, name))
		}
		for _, d := range mended.Lost {
			if d.Last >= starts[p.id] {
				m.lost("records of %s, partition %d: offsets %s (%s: %s)", m.name(p.id, names), p.id.Index,
					span(max(d.First, starts[p.id]), d.Last), d.File, d.Reason)
			}
		}
	}
	return nil
}

// mendIndexes makes indexes anew; those of segments that were written anew are done.
func (m *mending) mendIndexes(files []string, done map[Partition]bool) error {
	for _, p := range m.in.Partitions {
		for _, f := range partition.FilesOf(p.State) {
			name := path.Join(p.Dir, f.Name)
			if !f.Index || done[p.ID] || !slices.Contains(files, name) {
				continue
			}
			if err := m.fs.MkdirAll(path.Join(m.staging, p.Dir)); err != nil {
				return err
			}
			if err := partition.MendIndex(m.fs, p.Dir, path.Join(m.staging, p.Dir), p.State, f, p.indexInterval); err != nil {
				return err
			}
			m.aside(name)
			m.place(name)
		}
	}
	return nil
}

func (m *mending) name(id Partition, names map[Partition]string) string {
	if name := names[id]; name != "" {
		return "topic " + name
	}
	return "topic " + id.Topic.String()
}

func span[N int64 | journal.LSN](first, last N) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, last)
}

// replaceCheckpoints writes the checkpoint anew if it has changed. Older ones stay only where they can still be used.
func (m *mending) replaceCheckpoints(journalToo bool) error {
	if !m.changed && !journalToo {
		return nil
	}
	newest := m.c.sequence
	for i, found := range m.in.Checkpoints {
		newest = max(newest, found.Sequence)
		if n, ok := checkpointSequence(found.File); ok {
			newest = max(newest, n)
		}
		if m.changed || i != m.in.Used {
			m.aside(found.File)
		}
	}
	if !m.changed {
		return nil
	}
	m.c.sequence = newest + 1
	name := checkpointName(m.c.sequence)
	m.place(name)
	return writeStaged(m.fs, path.Join(m.staging, name), m.c.encode())
}

func writeStaged(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// mendJournal writes a journal of all entries that can be read and make sense. A recovery over an overlay tells which
// do: it applies each before it is taken over.
func (m *mending) mendJournal() error {
	j, err := journal.Begin(m.fs, path.Join(m.staging, journalDir), m.c.boundary, journal.Options{FileBytes: 1 << 20})
	if err != nil {
		return err
	}
	r := rewriting{mending: m, journal: j, left: map[Partition][]batch.View{}, deleted: map[meta.TopicID]bool{}}
	err = r.run()
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	m.aside(journalDir)
	m.place(journalDir)
	return nil
}

// rewriting is a journal being written anew.
type rewriting struct {
	*mending
	journal *journal.Journal
	sim     *recovery
	last    journal.LSN                // that was given to apply
	broken  bool                       // entries are missing before this one
	left    map[Partition][]batch.View // what segments have that no checkpoint knows of
	deleted map[meta.TopicID]bool
}

func (r *rewriting) run() error {
	overlay := vfs.NewOverlay(r.fs)
	for _, mv := range r.out.Moves { // those of segments: nothing else was moved yet
		if mv.To == "" {
			if err := overlay.RemoveAll(mv.From); err != nil {
				return err
			}
		} else if err := overlay.Rename(mv.From, mv.To); err != nil {
			return err
		}
	}
	r.sim = newRecovery(Config{FS: overlay, Logger: slog.New(slog.DiscardHandler)}.withDefaults())
	r.sim.writeBeside()
	defer func() {
		r.sim.stopWriting()
		for _, p := range r.sim.parts {
			_ = p.log.Close() // all of it stands in memory
		}
	}()
	if r.c.sequence == 0 { // load takes that for an empty directory's
		r.c.sequence = 1
	}
	if err := r.sim.load(r.c); err != nil {
		return err
	}
	for _, p := range r.c.parts {
		left, err := partition.Leftovers(r.fs, partDir(p.id), p.state)
		if err != nil {
			return err
		}
		r.left[p.id] = left
	}
	r.last = r.c.boundary
	found, err := journal.Salvage(r.fs, journalDir, r.c.boundary, r.apply)
	if err != nil {
		return err
	}
	for _, gap := range found.Lost {
		r.lost("entries of the journal: %s (%d)", span(gap.First, gap.Last), gap.Last-gap.First+1)
	}
	if err := r.tellTail(found.Last); err != nil {
		return err
	}
	for _, p := range r.c.parts {
		if err := r.fromLeft(p.id, math.MaxInt64); err != nil {
			return err
		}
	}
	if err := r.reviveOrphans(); err != nil {
		return err
	}
	// Whatever may have been served and is gone, its clients are to notice: epochs grow. Blocks of producer ids may be
	// among what is lost.
	if err := r.write(kindEpoch, encodeEpoch(r.sim.epoch+1)); err != nil {
		return err
	}
	block, err := skipIDs(r.sim.nextID.Snapshot(), idMargin)
	if err != nil {
		return err
	}
	return r.write(kindProducerIDs, block)
}

// tellTail notes that the journal went on behind the last entry that could be read.
func (r *rewriting) tellTail(last journal.LSN) error {
	found, err := journal.Inspect(r.fs, journalDir, r.c.boundary)
	if errors.Is(err, fs.ErrNotExist) {
		r.broken = true
		r.lost("whatever the journal held after entry %d: all of it is missing", last)
		return nil
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found.Damage, func(d *journal.CorruptError) bool {
		isThere := slices.ContainsFunc(found.Files, func(f journal.InspectedFile) bool { return f.Name == d.File })
		return d.LSN > last || !isThere
	}) {
		r.broken = true
		r.lost("whatever the journal held after entry %d: how much that was can't be known", last)
	}
	return nil
}

// reviveOrphans brings back topics of which the directory has records, and nobody remembers the creation, where that may
// be because entries of the journal are lost.
func (r *rewriting) reviveOrphans() error {
	if !r.broken {
		return nil
	}
	for _, dir := range r.in.Orphans {
		id, _ := parseTopicID(path.Base(dir))
		if _, known := r.sim.catalogue.TopicByID(id); known || r.deleted[id] {
			continue
		}
		infos, err := r.fs.List(dir)
		if err != nil {
			return err
		}
		for _, i := range infos {
			n, err := strconv.ParseUint(i.Name, 10, 31)
			if err != nil || !i.Dir || n >= meta.MaxPartitions {
				continue
			}
			p := Partition{id, int32(n)}
			if r.left[p], err = partition.Leftovers(r.fs, partDir(p), partition.State{}); err != nil {
				return err
			}
			if len(r.left[p]) == 0 {
				continue
			}
			if err := r.revive(p); err != nil {
				return err
			}
			if err := r.fromLeft(p, math.MaxInt64); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromLeft takes over batches that segments have behind the partition's end, up to an offset.
func (r *rewriting) fromLeft(id Partition, to int64) error {
	p := r.sim.parts[id]
	if p == nil {
		return nil
	}
	for _, v := range r.left[id] {
		end := p.log.End()
		if v.BaseOffset() < end || v.NextOffset() > to {
			continue
		}
		var head [batchesHead]byte
		putBatchesHead(&head, id, time.Now().UnixMilli())
		payload := head[:]
		if v.BaseOffset() > end {
			payload = r.gap(payload, id, end, v.BaseOffset())
		}
		payload = append(payload, v...)
		if err := r.sim.replay(0, kindBatches, payload); err != nil {
			return err
		}
		r.out.Restored += int64(v.LastOffsetDelta()) + 1
		if err := r.write(kindBatches, payload); err != nil {
			return err
		}
	}
	return nil
}

// gap appends what stands for lost offsets [from, to).
func (r *rewriting) gap(dst []byte, id Partition, from, to int64) []byte {
	r.lost("records of topic %s, partition %d: offsets %s (they stood in the journal)", r.topicName(id), id.Index, span(from, to-1))
	for at := from; at < to; {
		last := min(to, at+1<<31) - 1
		dst = batch.AppendGap(dst, at, last, r.sim.parts[id].log.Epoch())
		at = last + 1
	}
	return dst
}

// apply takes one entry over, if it can be applied to what came before.
func (r *rewriting) apply(lsn journal.LSN, kind journal.Kind, payload []byte) error {
	r.broken = r.broken || lsn != r.last+1
	r.last = lsn
	payload = slices.Clone(payload)
	switch kind {
	case kindBatches:
		var err error
		if payload, err = r.bridge(payload); err != nil {
			r.lost("entry %d of the journal: %v", lsn, err)
			return nil
		}
	case kindChange:
		if change, err := meta.DecodeChange(payload); err == nil && change.Kind == meta.Deleted {
			r.deleted[change.Topic.ID] = true
		}
	}
	if err := r.sim.replay(lsn, kind, payload); err != nil {
		r.lost("entry %d of the journal can't be applied: %v", lsn, err)
		return nil
	}
	return r.write(kind, payload)
}

func (r *rewriting) write(kind journal.Kind, payload []byte) error {
	_, err := r.journal.Append(journal.Entry{Kind: kind, Payload: [][]byte{payload}})
	return err
}

// bridge puts a gap before batches that don't follow their partition's end, and makes the topic of batches whose
// creation is lost.
func (r *rewriting) bridge(payload []byte) ([]byte, error) {
	id, _, records, err := parseBatches(payload)
	if err != nil || !r.broken {
		return payload, err
	}
	p := r.sim.parts[id]
	if p == nil && !r.deleted[id.Topic] {
		if err := r.revive(id); err != nil {
			return payload, err
		}
		p = r.sim.parts[id]
	}
	first := batch.View(records)
	if p == nil || len(records) < batch.HeaderBytes {
		return payload, nil
	}
	if err := r.fromLeft(id, first.BaseOffset()); err != nil {
		return payload, err
	}
	end := p.log.End()
	if first.BaseOffset() <= end {
		return payload, nil
	}
	return append(r.gap(slices.Clone(payload[:batchesHead]), id, end, first.BaseOffset()), records...), nil
}

func (r *rewriting) topicName(id Partition) string {
	if t, ok := r.sim.catalogue.TopicByID(id.Topic); ok {
		return t.Name
	}
	return id.Topic.String()
}

// revive makes a topic of which the journal has batches, and no longer the creation.
func (r *rewriting) revive(id Partition) error {
	change := meta.Change{Kind: meta.Created, Topic: meta.Topic{Name: recoveredName(id.Topic), ID: id.Topic, Partitions: id.Index + 1}}
	if t, ok := r.sim.catalogue.TopicByID(id.Topic); ok {
		if t.Partitions > id.Index {
			return nil
		}
		t.Partitions = id.Index + 1
		change = meta.Change{Kind: meta.Grown, Topic: t}
	} else {
		r.lost("the name and the configuration of a topic: it is %s now", change.Topic.Name)
	}
	payload := change.Encode()
	if err := r.sim.replay(0, kindChange, payload); err != nil {
		return err
	}
	return r.write(kindChange, payload)
}

// recoveredName names a topic whose name is lost.
func recoveredName(id meta.TopicID) string { return "recovered-" + id.String() }

package doctor

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// rewriteScope names the damaged parts of a data directory that must be written again.
type rewriteScope struct {
	partitions []datadir.Partition // partitions with damaged segments
	indexes    []string            // names of damaged index files
	journal    bool
}

// move is a rename of a file or directory within the data directory. If to is "", the file is moved to the directory
// below LostDir.
type move struct{ from, to string }

// repairPlan is the result of planRepair. Its moves, carried out in order while no broker has the directory open, turn
// the damaged directory into one that a broker can open.
type repairPlan struct {
	moves    []move
	lost     []string // what is lost, in one sentence each
	restored int64    // number of offsets whose records were damaged in a segment and were restored from elsewhere
}

// planRepair writes new files for the damaged parts of a data directory to a staging directory and leaves the damaged
// parts unchanged. Records that can still be read keep their offsets, and positions stay with their groups. Lost
// offsets become gaps, so that no offset is given twice. in is the result of inspect for the same directory.
//
//   - The new file for a damaged segment consists of the undamaged batches, of batches that the journal still has, and
//     of gaps.
//   - The new journal for a damaged one consists of every entry that can still be read, wherever its frame is
//     (rebuildjournal.go). If entries are missing, a partition whose batches go on after the missing ones gets a gap,
//     and a topic whose creation is lost gets a name.
//   - If no checkpoint can be used, one is reconstructed from segments and journal (reconstruct.go).
func planRepair(fsys vfs.FS, staging string, in inspection, scope rewriteScope) (repairPlan, error) {
	r := repairer{fs: fsys, staging: staging, in: in}
	if err := r.run(scope); err != nil {
		return repairPlan{}, fmt.Errorf("doctor: prepare a repair: %w", err)
	}
	return r.plan, nil
}

// repairer is the state of planRepair.
type repairer struct {
	fs         vfs.FS
	staging    string
	in         inspection
	checkpoint *datadir.Checkpoint // the checkpoint that the repaired directory will have
	changed    bool                // checkpoint differs from the one in the directory
	plan       repairPlan
}

func (r *repairer) run(scope rewriteScope) error {
	if err := r.fs.MkdirAll(r.staging); err != nil {
		return err
	}
	damaged := map[datadir.Partition]bool{}
	for _, id := range scope.partitions {
		damaged[id] = true
	}
	if r.in.used >= 0 {
		file := r.in.checkpoints[r.in.used].file
		content, err := vfs.ReadFile(r.fs, file)
		if err != nil {
			return err
		}
		if r.checkpoint, err = datadir.DecodeCheckpoint(file, content); err != nil {
			return err
		}
	} else {
		if err := r.reconstructCheckpoint(damaged); err != nil {
			return err
		}
		r.changed, scope.journal = true, true
	}
	if len(damaged) > 0 {
		if err := r.rewriteSegments(damaged); err != nil {
			return err
		}
		r.changed = true
	}
	if err := r.rewriteIndexes(scope.indexes, damaged); err != nil {
		return err
	}
	if scope.journal {
		if err := r.rebuildJournal(); err != nil {
			return err
		}
	}
	return r.replaceCheckpoints(scope.journal)
}

// moveAside plans to move a file away, below LostDir.
func (r *repairer) moveAside(name string) { r.plan.moves = append(r.plan.moves, move{from: name}) }

// moveIn plans to move a file from the staging directory to its place.
func (r *repairer) moveIn(name string) {
	r.plan.moves = append(r.plan.moves, move{from: path.Join(r.staging, name), to: name})
}

// lose notes a loss, as a sentence for the user.
func (r *repairer) lose(format string, args ...any) {
	r.plan.lost = append(r.plan.lost, fmt.Sprintf(format, args...))
}

// rewriteSegments writes new files for the damaged segments of the given partitions.
func (r *repairer) rewriteSegments(damaged map[datadir.Partition]bool) error {
	starts, names := map[datadir.Partition]int64{}, map[datadir.Partition]string{}
	for _, p := range r.in.partitions {
		starts[p.id], names[p.id] = p.start, p.topic
	}
	journaled, err := batchesInJournal(r.fs, damaged)
	if err != nil {
		return err
	}
	var segments []string // the segments of all damaged partitions, since a segment may have got the name of another one
	for _, p := range r.checkpoint.Partitions {
		if damaged[p.ID] {
			for _, f := range partition.FilesOf(p.State) {
				if !f.Index {
					segments = append(segments, path.Join(p.ID.Dir(), f.Name))
				}
			}
		}
	}
	for i := range r.checkpoint.Partitions {
		p := &r.checkpoint.Partitions[i]
		if !damaged[p.ID] {
			continue
		}
		dir := p.ID.Dir()
		repaired, err := partition.Repair(r.fs, dir, path.Join(r.staging, dir), p.State, partition.Sources{
			Files: segments,
			Find: func(first, last int64) []batch.View {
				var within []batch.View
				for _, v := range journaled[p.ID] {
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
		p.State = repaired.State
		r.plan.restored += repaired.Restored
		for _, name := range repaired.Aside {
			r.moveAside(path.Join(dir, name))
		}
		for _, name := range repaired.New {
			r.moveIn(path.Join(dir, name))
		}
		for _, d := range repaired.Lost {
			if d.Last >= starts[p.ID] {
				r.lose("records of topic %s, partition %d: offsets %s (%s: %s)", topicLabel(p.ID, names), p.ID.Index,
					formatRange(max(d.First, starts[p.ID]), d.Last), d.File, d.Reason)
			}
		}
	}
	return nil
}

// rewriteIndexes builds the damaged indexes again, except those of partitions in rewritten, which were built already.
func (r *repairer) rewriteIndexes(files []string, rewritten map[datadir.Partition]bool) error {
	for _, p := range r.in.partitions {
		for _, f := range partition.FilesOf(p.state) {
			name := path.Join(p.dir, f.Name)
			if !f.Index || rewritten[p.id] || !slices.Contains(files, name) {
				continue
			}
			if err := r.fs.MkdirAll(path.Join(r.staging, p.dir)); err != nil {
				return err
			}
			if err := partition.RepairIndex(r.fs, p.dir, path.Join(r.staging, p.dir), p.state, f, p.indexIntervalBytes); err != nil {
				return err
			}
			r.moveAside(name)
			r.moveIn(name)
		}
	}
	return nil
}

// topicLabel returns the name of a partition's topic, or the topic's id if the name is not known.
func topicLabel(id datadir.Partition, names map[datadir.Partition]string) string {
	if name := names[id]; name != "" {
		return name
	}
	return id.Topic.String()
}

// formatRange returns the inclusive range [first, last] as text for users.
func formatRange[N int64 | journal.LSN](first, last N) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, last)
}

// replaceCheckpoints writes the checkpoint again if it has changed, and plans to move away older checkpoints that do
// not fit the repaired journal.
func (r *repairer) replaceCheckpoints(journalToo bool) error {
	if !r.changed && !journalToo {
		return nil
	}
	newest := r.checkpoint.Sequence
	for i, found := range r.in.checkpoints {
		newest = max(newest, found.sequence)
		if n, ok := datadir.ParseCheckpointName(found.file); ok {
			newest = max(newest, n)
		}
		if r.changed || i != r.in.used {
			r.moveAside(found.file)
		}
	}
	if !r.changed {
		return nil
	}
	r.checkpoint.Sequence = newest + 1
	name := datadir.CheckpointName(r.checkpoint.Sequence)
	r.moveIn(name)
	return writeStaged(r.fs, path.Join(r.staging, name), r.checkpoint.Encode())
}

// writeStaged writes a file to the staging directory and syncs it. Its name is not durable until Repair syncs the
// directories.
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

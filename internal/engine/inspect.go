package engine

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// FormatLine is what FORMAT holds in a data directory of this program's version.
const FormatLine = formatLine

// Names in a data directory, for those who look at it from outside.
const (
	FormatFile = formatFile
	JournalDir = journalDir
	TopicsDir  = topicsDir
)

// Inspection is what Inspect found in a data directory that no engine has open.
type Inspection struct {
	Checkpoints []InspectedCheckpoint // newest first
	Used        int                   // the one that Open would take; -1: none is whole, or there is none
	ClusterID   string                // of the checkpoint used; "" without one
	Boundary    journal.LSN           // the journal counts after this
	Topics      []meta.Topic          // of the checkpoint used, with what the journal adds and takes away
	Partitions  []InspectedPartition  // of the checkpoint used, without those of topics deleted since
	Salvaged    journal.Salvaged      // what the journal holds behind the boundary, as far as it can be read
	Replay      int                   // how many of those entries say something
	Orphans     []string              // directories of no topic: the next Open removes them
	Missing     []string              // directories that should be there
	Foreign     []string              // names under topics that are not ours
}

// InspectedCheckpoint is one checkpoint file; Err says why it can't be used.
type InspectedCheckpoint struct {
	File      string
	Sequence  uint64 // as it says itself; without Err
	SizeBytes int64
	Err       error // *CheckpointError
	Newer     bool  // its checksum holds: nothing is wrong with it but that this program can't read it
	Misnamed  bool  // it is whole, and has the name of another
}

// InspectedPartition is one partition as the checkpoint describes it.
type InspectedPartition struct {
	ID    Partition
	Topic string
	Dir   string
	State partition.State
	Start int64 // the first offset that may be read, by the journal: what is lost below it is no loss

	indexInterval int // of its topic, bytes
}

// Inspect reads checkpoints and journal of a data directory, whatever state that is in, and changes nothing. The error
// is one of reading, or a *journal.VersionError.
func Inspect(fsys vfs.FS) (Inspection, error) {
	in := Inspection{Used: -1}
	c, err := in.readCheckpoints(fsys)
	if err != nil {
		return in, err
	}
	catalogue := meta.NewCatalogue(1)
	starts := map[Partition]int64{}
	if c != nil {
		in.ClusterID = base64.RawURLEncoding.EncodeToString(c.cluster[:])
		in.Boundary = c.boundary
		if err := catalogue.Load(c.catalogue); err != nil {
			in.Checkpoints[in.Used].Err = &CheckpointError{File: in.Checkpoints[in.Used].File, Reason: "catalogue", Err: err}
		}
	}
	in.Salvaged, err = journal.Salvage(fsys, journalDir, in.Boundary, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind != kindBarrier {
			in.Replay++
		}
		switch kind {
		case kindChange:
			if change, err := meta.DecodeChange(payload); err == nil {
				applyKnown(catalogue, change)
			}
		case kindLogStart:
			if id, start, err := parseLogStart(payload); err == nil {
				starts[id] = max(starts[id], start)
			}
		}
		return nil
	})
	if err != nil {
		return in, err
	}
	in.Topics = catalogue.Topics()
	if c != nil {
		for _, p := range c.parts {
			t, ok := catalogue.TopicByID(p.id.Topic)
			if !ok {
				continue // deleted since
			}
			in.Partitions = append(in.Partitions, InspectedPartition{
				ID: p.id, Topic: t.Name, Dir: partDir(p.id), State: p.state, Start: max(p.state.Start, starts[p.id]),
				indexInterval: t.Config(Config{}.withDefaults().defaults()).IndexIntervalBytes,
			})
		}
	}
	return in, in.readTopics(fsys)
}

// applyKnown applies a change that may have been applied, or that a lost one should have come before.
func applyKnown(c *meta.Catalogue, change meta.Change) {
	have, known := c.TopicByID(change.Topic.ID)
	_, taken := c.Topic(change.Topic.Name)
	switch {
	case change.Kind == meta.Created && (known || taken),
		change.Kind != meta.Created && !known,
		change.Kind == meta.Grown && have.Partitions >= change.Topic.Partitions:
		return
	}
	c.Apply(change)
}

// readCheckpoints looks at all checkpoints and returns the newest whole one, or nil.
func (in *Inspection) readCheckpoints(fsys vfs.FS) (*checkpoint, error) {
	infos, err := fsys.List(".")
	if err != nil {
		return nil, err
	}
	var used *checkpoint
	for _, i := range slices.Backward(infos) {
		n, ok := checkpointSequence(i.Name)
		if !ok {
			continue
		}
		found := InspectedCheckpoint{File: i.Name, SizeBytes: i.SizeBytes}
		var c *checkpoint
		content, err := vfs.ReadFile(fsys, i.Name)
		if err == nil {
			c, err = decodeCheckpoint(i.Name, content)
			if err == nil {
				found.Sequence, found.Misnamed = c.sequence, c.sequence != n
				err = c.tryLoad(i.Name)
			}
			found.Newer = err != nil && len(content) > crcSize && checksumHolds(content)
		}
		if err != nil {
			found.Err = err
			if _, ok := errors.AsType[*CheckpointError](err); !ok {
				found.Err = &CheckpointError{File: i.Name, Reason: "it can't be read", Err: err}
			}
		} else if used == nil {
			used, in.Used = c, len(in.Checkpoints)
		}
		in.Checkpoints = append(in.Checkpoints, found)
	}
	return used, nil
}

// checksumHolds says whether a checkpoint is as it was written, whatever its version.
func checksumHolds(b []byte) bool {
	body, crc := b[:len(b)-crcSize], binary.BigEndian.Uint32(b[len(b)-crcSize:])
	return crc32.Checksum(body, castagnoli) == crc
}

// tryLoad says whether the sections of a checkpoint can be read.
func (c *checkpoint) tryLoad(file string) error {
	damaged := func(reason string, err error) error { return &CheckpointError{File: file, Reason: reason, Err: err} }
	catalogue := meta.NewCatalogue(1)
	if err := catalogue.Load(c.catalogue); err != nil {
		return damaged("catalogue", err)
	}
	if err := group.New(Config{}.groupOptions()).Load(c.groups); err != nil {
		return damaged("groups", err)
	}
	for _, p := range c.parts {
		if _, ok := catalogue.TopicByID(p.id.Topic); !ok {
			return damaged(fmt.Sprintf("partition %s/%d is of no topic", p.id.Topic, p.id.Index), nil)
		}
	}
	return nil
}

// readTopics compares the directories under topics with the catalogue.
func (in *Inspection) readTopics(fsys vfs.FS) error {
	known := map[string]meta.Topic{}
	for _, t := range in.Topics {
		known[t.ID.String()] = t
	}
	infos, err := fsys.List(topicsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, i := range infos {
		name := path.Join(topicsDir, i.Name)
		_, ours := parseTopicID(i.Name)
		t, alive := known[i.Name]
		switch {
		case !ours || !i.Dir || strings.ToLower(i.Name) != i.Name:
			in.Foreign = append(in.Foreign, name)
			continue
		case !alive:
			in.Orphans = append(in.Orphans, name)
			continue
		}
		parts, err := fsys.List(name)
		if err != nil {
			return err
		}
		for _, p := range parts {
			var index int32
			_, err := fmt.Sscanf(p.Name, "%d", &index)
			if err != nil || !p.Dir || index < 0 || index >= t.Partitions || fmt.Sprint(index) != p.Name {
				in.Foreign = append(in.Foreign, path.Join(name, p.Name))
			}
		}
	}
	for _, p := range in.Partitions {
		if _, err := fsys.Stat(p.Dir); errors.Is(err, fs.ErrNotExist) {
			in.Missing = append(in.Missing, p.Dir)
		}
	}
	return nil
}

// Rehearsal is what became of a Rehearse.
type Rehearsal struct {
	Err    error    // why the directory does not open; nil: it does
	Damage []string // what a broker would report that has opened it
}

// Rehearse opens a data directory as a broker would, over an overlay, and closes it: nothing of it is written. What it
// would take memory for is the journal that must be replayed.
func Rehearse(fsys vfs.FS) Rehearsal {
	var out Rehearsal
	e, err := Open(Config{FS: vfs.NewOverlay(fsys), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		out.Err = err
		return out
	}
	for _, p := range e.allParts() {
		for _, d := range p.log.Damage() {
			out.Damage = append(out.Damage, d.Error())
		}
	}
	out.Err = e.Close()
	return out
}

// journaled reads the batches of some partitions that the journal still has, wherever it has them.
func journaled(fsys vfs.FS, want func(Partition, batch.View) bool, take func(Partition, batch.View)) error {
	_, err := journal.Salvage(fsys, journalDir, 0, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind != kindBatches {
			return nil
		}
		id, _, records, err := parseBatches(payload)
		if err != nil {
			return nil // a whole frame that says nothing; the replay will tell
		}
		for v, err := range batch.Split(records) {
			if err != nil {
				return nil
			}
			if want(id, v) && batch.Check(v) == nil {
				take(id, slices.Clone(v))
			}
		}
		return nil
	})
	return err
}

//go:build sabotage

package engine

import (
	"path"
	"strings"
	"testing"

	"tidings.dev/internal/sabotage"
)

// A mutant is a copy of a source file with honest lines made dishonest.
type mutant struct {
	name  string
	by    string   // the test that must fail; of another room: room:test
	file  string   // from this directory
	edits []string // old, new, old, new…
}

const byPowerCuts = "TestPowerCuts"

var mutants = []mutant{
	{"the journal does not sync", byPowerCuts, "../journal/writer.go", []string{"j.current.f.Sync(); err != nil", "error(nil); err != nil"}},
	{"the journal acknowledges before it syncs", byPowerCuts, "../journal/writer.go", []string{
		"if synced {\n\t\tif err := j.sync(); err != nil {",
		"if synced {\n\t\tj.answer(append([]pending(nil), group...), nil)\n\t\tfor i := range group {\n\t\t\tgroup[i].Done, group[i].bytes = nil, 0\n\t\t}\n" +
			"\t\tif err := j.sync(); err != nil {",
	}},
	{"an append is answered when it is queued", byPowerCuts, "append.go", []string{
		"if err := op.enqueue(datadir.KindBatches, config)", "op.done(op.answer); op.done = func(Appended) {}\nif err := op.enqueue(datadir.KindBatches, config)",
	}},
	{"a checkpoint does not sync segments", byPowerCuts, "../partition/flush.go", []string{"if err = f.Sync(); err == nil {", "if err == nil {"}},
	{"a checkpoint is renamed without a sync", byPowerCuts, "../vfs/writefile.go", []string{"err = f.Sync()", "err = nil"}},
	{"a checkpoint's name is not made durable", byPowerCuts, "../vfs/writefile.go", []string{"if err := fsys.SyncDir(path.Dir(name)); err != nil {", "if err := error(nil); err != nil && path.Dir(name) != \"\" {"}},
	{"offsets in memory mode are not reserved", byPowerCuts, "memorymode.go", []string{
		"if err := e.commit(datadir.KindReserved, datadir.EncodePartitionOffset(p.id, end)); err != nil {", "if err, _ := error(nil), datadir.KindReserved; err != nil {",
	}},
	{"what was only written is not written again by a recovery", "journal:TestSeenIsKept", "../journal/recover.go", []string{
		"if len(r.unproven) == 0 || f.durable >= f.first-1 {", "if true {",
	}},
	{"a file is begun before the one before it is synced", "journal:TestPowerCuts", "../journal/writer.go", []string{
		"if j.durable.Load() < j.written.Load() {", "if false {",
	}},
	{"refused offsets are not taken back", "TestFullDiskAndPowerCuts", "diskfull.go", []string{"p.next = end\n", "_ = end\n"}},
	{"a checkpoint does not wait for what it has seen", "TestCheckpointWaitsForWhatItHasSeen", "checkpoint.go", []string{
		"if err := e.commit(datadir.KindBarrier, nil); err != nil {", "if err := error(nil); err != nil {",
	}},
	{"the journal is released up to its end", byPowerCuts, "checkpoint.go", []string{
		"e.journal.Release(previous.boundary)", "e.journal.Release(journal.LSN(e.commits.applied.Load()))",
	}},
	{"a file is sent that nobody has checked", "partition:TestStored", "../partition/stored.go", []string{
		"f.checked.endOf(s.position) >= s.position+int64(s.sizeBytes)", "true",
	}},
	{"what was read past the page cache counts as checked in it", "partition:TestStored", "../partition/read.go", []string{"if !uncached {", "if true {"}},
	{"the directories of a new topic's partitions are not synced", byPowerCuts, "topics.go", []string{
		"if err := e.config.FS.SyncDir(dir); err != nil {", "if err := error(nil); err != nil {",
	}},
	{"a new log start is not journaled", byPowerCuts, "retention.go", []string{
		"if err := e.commit(datadir.KindLogStart, datadir.EncodePartitionOffset(p.id, start)); err != nil {", "if err, _ := error(nil), datadir.KindLogStart; err != nil {",
	}},
}

// Case: every mutant is caught by its test. One that passes means that the test no longer tests. Each compiles the
// tests once: a minute in all, so the build tag.
func TestSabotageIsCaught(t *testing.T) {
	var all []sabotage.Mutant
	for _, m := range mutants {
		room, by, elsewhere := strings.Cut(m.by, ":")
		if !elsewhere {
			room, by = "engine", m.by
		}
		all = append(all, sabotage.Mutant{Name: m.name, In: "internal/" + room, By: by, File: path.Join("internal/engine", m.file), Edits: m.edits})
	}
	sabotage.Caught(t, all)
}

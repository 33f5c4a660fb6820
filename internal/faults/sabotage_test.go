//go:build sabotage

package faults

import (
	"testing"

	"tidings.dev/internal/sabotage"
)

// mutant is a copy of a source file in which honest lines are made dishonest, and the test that must fail of it. More of
// them stand in internal/engine; docs/faults.md lists all.
type mutant struct {
	name  string
	in    string   // the package of the test, from the module's root
	by    string   // the test
	args  []string // of the test
	file  string   // from the module's root
	edits []string // old, new, old, new…
}

var mutants = []mutant{
	{"reads of a segment ignore the CRC", "internal/faults", "TestCorruption", nil, "internal/partition/walk.go", []string{
		"if got, want := v.Checksum(), v.CRC(); got != want {", "if got, want := v.Checksum(), v.CRC(); false {",
	}},
	{"a checkpoint's CRC is ignored", "internal/faults", "TestCorruption", nil, "internal/engine/checkpoint.go", []string{
		"if crc32.Checksum(body, castagnoli) != crc {", "if _ = crc; false {",
	}},
	{"the journal's CRC is ignored", "internal/faults", "TestCorruption", nil, "internal/journal/reader.go", []string{
		"if err != nil || frameChecksum(b) != checksumIn(b) {", "if err != nil {",
	}},
	{"the journal's directory is not synced", "internal/journal", "TestPowerCuts", nil, "internal/journal/begin.go", []string{
		"under an older name.\n\t\terr = s.fs.SyncDir(s.dir)", "under an older name.\n\t\terr = nil",
	}},
	{"a partition's directory is not synced", "internal/engine", "TestPowerCuts", nil, "internal/partition/flush.go", []string{
		"if err := l.fs.SyncDir(l.dir); err != nil {", "if err := error(nil); err != nil {",
	}},
	{"producer ids are given before their block is durable", "internal/engine", "TestPowerCuts", nil, "internal/engine/producer.go", []string{
		"if err := e.commit(kindProducerIDs, block.Encode()); err != nil {", "if err := error(nil); err != nil {",
	}},
	{"positions are acknowledged and not journaled", "internal/engine", "TestPowerCuts", nil, "internal/engine/groups.go", []string{
		"journal.Entry{Kind: kindGroup, Payload: [][]byte{p.Record}", "journal.Entry{Kind: kindBarrier, Payload: nil",
	}},
	{"positions are acknowledged and not journaled, found by its clients", "internal/faults", "TestKills", []string{"-kills.count=40"}, "internal/engine/groups.go", []string{
		"journal.Entry{Kind: kindGroup, Payload: [][]byte{p.Record}", "journal.Entry{Kind: kindBarrier, Payload: nil",
	}},
	{"whose a segment's file is is not looked at", "internal/partition", "TestTwins", nil, "internal/partition/mark.go", []string{
		"	if first.CRC() != m.First {", "	if true {\n		return true, nil\n	}\n	if first.CRC() != m.First {",
	}},
	{"recovery forgets what producers sent", "internal/faults", "TestKills", []string{"-kills.count=40"}, "internal/engine/part.go", []string{
		"if v.BaseOffset() >= producersAt {", "if false {",
	}},
	{"a failed sync is taken for a good one", "internal/faults", "TestFailingIO", []string{"-faults.every=7"}, "internal/journal/writer.go", []string{
		"if err := j.sync(); err != nil {\n\t\t\treturn j.fence(err)", "if err := j.sync(); false {\n\t\t\treturn j.fence(err)",
	}},
}

// Case: every mutant is caught by its test. One that passes means that the test no longer tests.
func TestSabotageIsCaught(t *testing.T) {
	var all []sabotage.Mutant
	for _, m := range mutants {
		all = append(all, sabotage.Mutant{Name: m.name, In: m.in, By: m.by, Args: m.args, File: m.file, Edits: m.edits})
	}
	sabotage.Caught(t, all)
}

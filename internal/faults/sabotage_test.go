//go:build sabotage

package faults

import (
	"testing"

	"tidings.dev/internal/sabotage"
)

// mutant is a change of a source file that breaks a promise, and the test that must fail because of it. More of them are in
// internal/engine; docs/faults.md lists all.
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
	{"a checkpoint's CRC is ignored", "internal/faults", "TestCorruption", nil, "internal/datadir/checkpoint.go", []string{
		"return crc32.Checksum(body, castagnoli) == crc", "return crc32.Checksum(body, castagnoli) == crc || true",
	}},
	{"the journal's CRC is ignored", "internal/faults", "TestCorruption", nil, "internal/journal/reader.go", []string{
		"if err != nil || frameChecksum(b) != checksumIn(b) {", "if err != nil {",
	}},
	{"the journal's directory is not synced", "internal/journal", "TestPowerCuts", nil, "internal/journal/begin.go", []string{
		"a frame of the new generation.\n\t\terr = s.fs.SyncDir(s.dir)", "a frame of the new generation.\n\t\terr = nil",
	}},
	{"a partition's directory is not synced", "internal/engine", "TestPowerCuts", nil, "internal/partition/flush.go", []string{
		"if err := l.fs.SyncDir(l.dir); err != nil {", "if err := error(nil); err != nil {",
	}},
	{"producer ids are given before their block is durable", "internal/engine", "TestPowerCuts", nil, "internal/engine/producer.go", []string{
		"if err := e.commit(datadir.KindProducerIDs, block.Encode()); err != nil {", "if err, _ := error(nil), datadir.KindProducerIDs; err != nil {",
	}},
	{"positions are acknowledged and not journaled", "internal/engine", "TestPowerCuts", nil, "internal/engine/groups.go", []string{
		"journal.Entry{Kind: datadir.KindGroup, Payload: [][]byte{p.Record}", "journal.Entry{Kind: datadir.KindBarrier, Payload: nil",
	}},
	{"positions are acknowledged and not journaled, found by its clients", "internal/faults", "TestKills", []string{"-kills.count=40"}, "internal/engine/groups.go", []string{
		"journal.Entry{Kind: datadir.KindGroup, Payload: [][]byte{p.Record}", "journal.Entry{Kind: datadir.KindBarrier, Payload: nil",
	}},
	{"the identity of a segment's file is not verified", "internal/partition", "TestTwins", nil, "internal/partition/fingerprint.go", []string{
		"	if first.CRC() != want.First {", "	if true {\n		return true, nil\n	}\n	if first.CRC() != want.First {",
	}},
	{"recovery forgets what producers sent", "internal/faults", "TestKills", []string{"-kills.count=40"}, "internal/engine/replay.go", []string{
		"if v.BaseOffset() >= producersEnd {", "if false {",
	}},
	{"a failed sync is taken for a good one", "internal/faults", "TestFailingIO", []string{"-faults.every=7"}, "internal/journal/writer.go", []string{
		"if err := j.sync(); err != nil {\n\t\t\treturn j.fence(err)", "if err := j.sync(); false {\n\t\t\treturn j.fence(err)",
	}},
}

// Case: every mutant makes its test fail.
func TestSabotageIsCaught(t *testing.T) {
	var all []sabotage.Mutant
	for _, m := range mutants {
		all = append(all, sabotage.Mutant{Name: m.name, In: m.in, By: m.by, Args: m.args, File: m.file, Edits: m.edits})
	}
	sabotage.Caught(t, all)
}

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings.dev/broker"
	"tidings.dev/internal/doctor"
)

// Case: a broker runs: the doctor says which process. It stops: nothing is wrong. A byte of a segment changes: the doctor
// names file, position and offset, the repair says what it would do, does it with what the journal still has of the
// record, and a broker serves all of them.
func TestDoctorAndRepair(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	beside, alone := shell{t, dir}, shell{t, ""}
	beside.want(beside.run("topic", "create", "doors"), 0)
	for _, data := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
		beside.want(beside.run("emit", "door.opened", data, "--topic", "doors", "--subject", "door/7"), 0)
	}
	alone.want(alone.run("doctor", dir), 1, "is in use by process", "tidings backup")
	alone.want(alone.run("repair", dir, "--yes"), 1, "is in use by process")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	alone.want(alone.run("doctor", dir), 0, "nothing is wrong", "3 records")
	beside.want(beside.run("doctor", "-o", "json"), 0, `"findings": []`)
	alone.want(alone.run("repair", dir), 0, "nothing to repair")

	segments, err := filepath.Glob(filepath.Join(dir, "topics", "*", "*", "*.log"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v %v", segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	below, _ := filepath.Rel(dir, segments[0])
	alone.want(alone.run("doctor", dir), 6, below, "checksum", "topic doors, partition", "offset 1", "1 finding", "tidings repair")
	r := alone.want(alone.run("doctor", dir, "-o", "json"), 6)
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || len(report.Findings) != 1 || *report.Findings[0].FirstOffset != 1 || !strings.Contains(r.errout, `"findings"`) {
		t.Errorf("%v: %s %s", err, r.out, r.errout)
	}
	alone.want(alone.run("repair", dir), 2, below, "write the segment anew", "--yes")
	if after, err := os.ReadFile(segments[0]); err != nil || string(after) != string(content) {
		t.Errorf("changed without --yes: %v", err)
	}
	alone.want(alone.run("repair", dir, "--yes"), 0, "1 record found again", "kept in "+filepath.Join(dir, "lost"))
	alone.want(alone.run("doctor", dir), 0, "nothing is wrong")

	b, err = broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r = beside.want(beside.run("tail", "doors", "--from", "earliest", "--follow=false", "-o", "jsonl"), 0, `"n":1`, `"n":2`, `"n":3`)
	if n := strings.Count(r.out, "\n"); n != 3 {
		t.Errorf("%d events: %s", n, r.out)
	}
}

// Case: a directory of backups is checked by its checksums.
func TestDoctorOfBackups(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "backups")
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	s := shell{t, ""}
	s.want(s.run("backup", dir, "--to", target), 0)
	s.want(s.run("doctor", target), 0, "1 backup", "nothing is wrong")
	chunks, err := filepath.Glob(filepath.Join(target, "chunks", "*", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatalf("%v %v", chunks, err)
	}
	if err := os.Truncate(chunks[0], 1); err != nil {
		t.Fatal(err)
	}
	s.want(s.run("doctor", target), 6, filepath.Base(chunks[0]), "needed by")
	s.want(s.run("doctor", target, "-o", "json"), 6, `"needed_by"`)
	s.want(s.run("restore", target, "--data", filepath.Join(t.TempDir(), "x")), 1, filepath.Base(chunks[0]), "tidings doctor")
}

func TestDoctorMistakes(t *testing.T) {
	s := shell{t, ""}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "FORMAT"), []byte("tidings 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"doctor", "repair"} {
		s.want(s.run(command, "/no/such"), 3, "/no/such")
		s.want(s.run(command, t.TempDir()), 1, "no data directory")
		s.want(s.run(command, newer), 1, "tidings 99", "newer version")
	}
	s.want(s.run("repair", newer, "--yes"), 1, "tidings 99", "newer version")
}

package files

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings.dev/broker"
	"tidings.dev/internal/doctor"
)

// Case: a broker runs: the doctor names the process. It stops: nothing is wrong. A byte of a segment changes: the doctor
// names file, position and offset, the repair prints what it would do, does it with what the journal still has of the
// record, and a broker serves all of them.
func TestDoctorAndRepair(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	beside, alone := program(t).On(dir), program(t)
	beside.Want(beside.Run("topic", "create", "doors"), 0)
	for _, data := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
		beside.Want(beside.Run("emit", "door.opened", data, "--topic", "doors", "--subject", "door/7"), 0)
	}
	alone.Want(alone.Run("doctor", dir), 1, "is in use by process", "tidings backup")
	alone.Want(alone.Run("repair", dir, "--yes"), 1, "is in use by process")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	alone.Want(alone.Run("doctor", dir), 0, "nothing is wrong", "3 records")
	beside.Want(beside.Run("doctor", "-o", "json"), 0, `"findings": []`)
	alone.Want(alone.Run("repair", dir), 0, "nothing to repair")

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
	alone.Want(alone.Run("doctor", dir), 6, below, "checksum", "topic doors, partition", "offset 1", "1 finding", "tidings repair")
	r := alone.Want(alone.Run("doctor", dir, "-o", "json"), 6)
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || len(report.Findings) != 1 || *report.Findings[0].FirstOffset != 1 || !strings.Contains(r.Stderr, `"findings"`) {
		t.Errorf("%v: %s %s", err, r.Stdout, r.Stderr)
	}
	alone.Want(alone.Run("repair", dir), 2, below, "write the segment anew", "--yes")
	if after, err := os.ReadFile(segments[0]); err != nil || string(after) != string(content) {
		t.Errorf("changed without --yes: %v", err)
	}
	alone.Want(alone.Run("repair", dir, "--yes"), 0, "1 record found again", "kept in "+filepath.Join(dir, "lost"))
	alone.Want(alone.Run("doctor", dir), 0, "nothing is wrong")

	b, err = broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r = beside.Want(beside.Run("tail", "doors", "--from", "earliest", "--follow=false", "-o", "jsonl"), 0, `"n":1`, `"n":2`, `"n":3`)
	if n := strings.Count(r.Stdout, "\n"); n != 3 {
		t.Errorf("%d events: %s", n, r.Stdout)
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
	s := program(t)
	s.Want(s.Run("backup", dir, "--to", target), 0)
	s.Want(s.Run("doctor", target), 0, "1 backup", "nothing is wrong")
	chunks, err := filepath.Glob(filepath.Join(target, "chunks", "*", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatalf("%v %v", chunks, err)
	}
	if err := os.Truncate(chunks[0], 1); err != nil {
		t.Fatal(err)
	}
	s.Want(s.Run("doctor", target), 6, filepath.Base(chunks[0]), "needed by")
	s.Want(s.Run("doctor", target, "-o", "json"), 6, `"needed_by"`)
	s.Want(s.Run("restore", target, "--data", filepath.Join(t.TempDir(), "x")), 1, filepath.Base(chunks[0]), "tidings doctor")
}

func TestDoctorMistakes(t *testing.T) {
	s := program(t)
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "FORMAT"), []byte("tidings 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"doctor", "repair"} {
		s.Want(s.Run(command, "/no/such"), 3, "/no/such")
		s.Want(s.Run(command, t.TempDir()), 1, "no data directory")
		s.Want(s.Run(command, newer), 1, "tidings 99", "newer version")
	}
	s.Want(s.Run("repair", newer, "--yes"), 1, "tidings 99", "newer version")
}

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings.dev/broker"
)

// Case: a running broker is backed up twice; a later event is in neither. Each backup is restored, and a broker tells the
// same stories from it. Then the broker stops, and a third backup needs none.
func TestBackupAndRestore(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "backups")
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	beside, alone := shell{t, dir}, shell{t, ""}
	beside.want(beside.run("topic", "create", "doors", "-p", "2"), 0)
	var taken []backupReport
	for i := range 3 {
		beside.want(beside.run("emit", "door.opened", fmt.Sprintf(`{"n":%d}`, i), "--topic", "doors", "--subject", "door/7", "--id", fmt.Sprint("event-", i)), 0)
		if i == 2 {
			break
		}
		r := alone.want(alone.run("backup", dir, "--to", target, "-o", "json"), 0)
		var report backupReport
		if err := json.Unmarshal([]byte(r.out), &report); err != nil {
			t.Fatalf("%s: %v", r.out, err)
		}
		if !report.Hot || report.Topics != 1 || report.Partitions != 2 || report.ClusterID != b.ClusterID() {
			t.Errorf("%+v", report)
		}
		taken = append(taken, report)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	alone.want(alone.run("backup", dir, "--to", target, "--keep", "3"), 0, "backup 20", "topics 1")
	for i, from := range []string{taken[0].Name, taken[1].Name, ""} {
		into := filepath.Join(t.TempDir(), "restored")
		alone.want(alone.run("restore", target, "--at", from, "--data", into), 0, "restored 20", "tidings serve --data")
		alone.want(alone.run("restore", target, "--data", into), 1, "not empty")
		b, err := broker.Open(broker.Config{Dir: into})
		if err != nil {
			t.Fatal(err)
		}
		there := shell{t, into}
		r := there.want(there.run("tail", "doors", "--from", "earliest", "--follow=false", "-o", "jsonl"), 0)
		if n := strings.Count(r.out, "\n"); n != i+1 {
			t.Errorf("backup %d has %d events: %s", i, n, r.out)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := alone.want(alone.run("restore", target, "--list"), 0, taken[0].Name, taken[1].Name)
	if n := strings.Count(r.out, "\n"); n != 3 {
		t.Errorf("%d backups: %s", n, r.out)
	}
}

// Case: each mistake has its message, its code and its hint, and changes nothing.
func TestBackupMistakes(t *testing.T) {
	s := shell{t, ""}
	empty, foreign, target := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.doc"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  result
		code int
		says []string
	}{
		"no target":         {s.run("backup", empty), 2, []string{"--to"}},
		"by address":        {s.run("backup", "--brokers", "localhost:9092", "--to", target), 2, []string{"name the data directory"}},
		"no directory":      {s.run("backup", "/no/such", "--to", target), 3, []string{"/no/such"}},
		"foreign directory": {s.run("backup", foreign, "--to", target), 1, []string{"thesis.doc"}},
		"empty directory":   {s.run("backup", empty, "--to", target), 3, []string{"no data directory"}},
		"foreign target":    {s.run("backup", empty, "--to", foreign), 1, []string{"thesis.doc", "empty directory"}},
		"bad keep":          {s.run("backup", empty, "--to", target, "--keep", "-1"), 2, []string{"--keep"}},
		"restore nothing":   {s.run("restore", t.TempDir(), "--data", empty), 3, []string{"no such backup"}},
		"restore foreign":   {s.run("restore", foreign, "--data", empty), 1, []string{"thesis.doc"}},
		"restore nowhere":   {s.run("restore", target), 2, []string{"--data"}},
		"restore no target": {s.run("restore", "/no/such", "--data", empty), 3, []string{"/no/such"}},
	} {
		t.Run(name, func(t *testing.T) { shell{t, ""}.want(c.got, c.code, c.says...) })
	}
	for dir, want := range map[string]int{empty: 0, foreign: 1} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != want {
			t.Errorf("%s now has %v (%v)", dir, left, err)
		}
	}
}

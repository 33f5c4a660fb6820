package files

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/clitest"
)

// Case: a running broker is backed up twice; a later event is in neither. Each backup is restored, and a broker has the
// same stories from it. Then the broker stops, and a third backup needs none.
func TestBackupAndRestore(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "backups")
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	beside, alone := program(t).On(dir), program(t)
	beside.Want(beside.Run("topic", "create", "doors", "-p", "2"), 0)
	var taken []backupReport
	for i := range 3 {
		beside.Want(beside.Run("emit", "door.opened", fmt.Sprintf(`{"n":%d}`, i), "--topic", "doors", "--subject", "door/7", "--id", fmt.Sprint("event-", i)), 0)
		if i == 2 {
			break
		}
		r := alone.Want(alone.Run("backup", dir, "--to", target, "-o", "json"), 0)
		var report backupReport
		if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
			t.Fatalf("%s: %v", r.Stdout, err)
		}
		// Emit records in tidings.subscriptions, in the background, which fact it emits: the backup may have that topic, too.
		if beyond := report.Topics - 1; !report.Hot || beyond < 0 || beyond > 1 || report.Partitions != 2+beyond || report.ClusterID != b.ClusterID() {
			t.Errorf("%+v", report)
		}
		taken = append(taken, report)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	alone.Want(alone.Run("backup", dir, "--to", target, "--keep", "3"), 0, "backup 20", "topics ")
	for i, from := range []string{taken[0].Name, taken[1].Name, ""} {
		into := filepath.Join(t.TempDir(), "restored")
		args := []string{"restore", target, "--data", into}
		if from != "" {
			args = append(args, "--at", from)
		}
		alone.Want(alone.Run(args...), 0, "restored 20", "tidings serve --data")
		alone.Want(alone.Run("restore", target, "--data", into), 1, "not empty")
		b, err := broker.Open(broker.Config{Dir: into})
		if err != nil {
			t.Fatal(err)
		}
		there := program(t).On(into)
		r := there.Want(there.Run("tail", "doors", "--from", "earliest", "--follow=false", "-o", "jsonl"), 0)
		if n := strings.Count(r.Stdout, "\n"); n != i+1 {
			t.Errorf("backup %d has %d events: %s", i, n, r.Stdout)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := alone.Want(alone.Run("restore", target, "--list"), 0, taken[0].Name, taken[1].Name)
	if n := strings.Count(r.Stdout, "\n"); n != 3 {
		t.Errorf("%d backups: %s", n, r.Stdout)
	}
}

// Case: each mistake has its message, its code and its hint, and changes nothing.
func TestBackupMistakes(t *testing.T) {
	s := program(t)
	empty, foreign, target := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.doc"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got   clitest.Result
		code  int
		texts []string
	}{
		"no target":         {s.Run("backup", empty), 2, []string{"--to"}},
		"by address":        {s.Run("backup", "--brokers", "localhost:9092", "--to", target), 2, []string{"does not use --brokers", "data directory"}},
		"no directory":      {s.Run("backup", "/no/such", "--to", target), 3, []string{"/no/such"}},
		"foreign directory": {s.Run("backup", foreign, "--to", target), 1, []string{"thesis.doc"}},
		"empty directory":   {s.Run("backup", empty, "--to", target), 3, []string{"no data directory"}},
		"foreign target":    {s.Run("backup", empty, "--to", foreign), 1, []string{"thesis.doc", "empty directory"}},
		"bad keep":          {s.Run("backup", empty, "--to", target, "--keep", "-1"), 2, []string{"--keep"}},
		"restore nothing":   {s.Run("restore", t.TempDir(), "--data", empty), 3, []string{"no such backup"}},
		"restore foreign":   {s.Run("restore", foreign, "--data", empty), 1, []string{"thesis.doc"}},
		"restore nowhere":   {s.Run("restore", target), 2, []string{"--data"}},
		"restore no target": {s.Run("restore", "/no/such", "--data", empty), 3, []string{"/no/such"}},
	} {
		t.Run(name, func(t *testing.T) { program(t).Want(c.got, c.code, c.texts...) })
	}
	for dir, want := range map[string]int{empty: 0, foreign: 1} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != want {
			t.Errorf("%s now has %v (%v)", dir, left, err)
		}
	}
}

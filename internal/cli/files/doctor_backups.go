package files

import (
	"context"
	"fmt"
	"io"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/cli/shell"
)

// backupsReport is the output of `doctor` for a directory of backups.
type backupsReport struct {
	Directory string          `json:"directory"`
	Backups   []backup.Head   `json:"backups"`
	Chunks    int             `json:"chunks"`
	SizeBytes int64           `json:"size_bytes"`
	Unused    int             `json:"unused_chunks"`
	Findings  []backupFinding `json:"findings"`
}

type backupFinding struct {
	File   string   `json:"file"`
	What   string   `json:"what"`
	Needed []string `json:"needed_by,omitempty"` // names of backups and files, as backup:file
}

// doctorBackups checks a directory of backups and prints the report. If there are findings, it returns a fault with
// exit code 6.
func doctorBackups(ctx context.Context, s *shell.Session, dir string) error {
	store, done, err := openStore(dir, false)
	if err != nil {
		return err
	}
	defer done()
	v, err := store.Verify(ctx)
	if err != nil {
		return storeFault(dir, err)
	}
	r := backupsReport{Directory: dir, Backups: v.Backups, Chunks: v.Chunks, SizeBytes: v.Bytes, Unused: v.Unused, Findings: []backupFinding{}}
	for _, d := range v.Damage {
		r.Findings = append(r.Findings, backupFinding{d.File, d.Reason, d.Needed})
	}
	for _, name := range v.Foreign {
		r.Findings = append(r.Findings, backupFinding{File: name, What: "it is no chunk"})
	}
	err = s.Output().Value(r, func(w io.Writer) error {
		fmt.Fprintf(w, "%s: %s, %s in %s, all read\n", dir, shell.Plural(len(r.Backups), "backup"), shell.Plural(r.Chunks, "chunk"), shell.Bytes(r.SizeBytes))
		for _, f := range r.Findings {
			fmt.Fprintf(w, "damage: %s: %s\n", shell.Clean(f.File), shell.Clean(f.What))
			for _, n := range f.Needed {
				fmt.Fprintf(w, "  needed by %s\n", shell.Clean(n))
			}
		}
		if len(r.Findings) == 0 {
			fmt.Fprintln(w, "nothing is wrong")
		}
		return nil
	})
	if err == nil && len(r.Findings) > 0 {
		err = &shell.Fault{Code: "findings", Message: fmt.Sprintf("%s: %s", dir, shell.Plural(len(r.Findings), "finding")), Exit: shell.ExitFindings,
			Hint: "back up again to another directory; what is not named above can be restored"}
	}
	return err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/doctor"
	"tidings.dev/internal/vfs"
)

func (s *session) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor [DIR]", Short: "Check a data directory, or a directory of backups",
		Long: "Reads everything in a data directory on which no broker runs, writes nothing, and says what is wrong and where, and\n" +
			"what `tidings repair` would do about it. A directory of backups is checked by its checksums.\n" +
			"Exit code 0: nothing is wrong; 6: something is; 1: it could not be checked.",
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.doctor(cmd.Context(), s.directoryOf(args))
		},
	}
}

func (s *session) doctor(ctx context.Context, dir string) error {
	if err := mustBeDirectory(dir); err != nil {
		return err
	}
	if disk, err := vfs.Disk(dir); err == nil {
		isStore := backup.IsStore(disk)
		if err := disk.(io.Closer).Close(); err != nil {
			return err
		}
		if isStore {
			return s.doctorBackups(ctx, dir)
		}
	}
	report, err := doctor.CheckDir(dir)
	if err != nil {
		return doctorFault(dir, err)
	}
	err = s.output().thing(report, func(w io.Writer) error { return writeReport(w, report) })
	if err != nil || report.Clean() {
		return err
	}
	return findingsFault(report)
}

// findingsFault ends a command that found something: exit 6.
func findingsFault(report *doctor.Report) *Fault {
	n := 0
	repairable := false
	for _, f := range report.Findings {
		if f.Severity != doctor.Note {
			n++
			repairable = repairable || f.Repair != ""
		}
	}
	f := &Fault{Code: "findings", Message: fmt.Sprintf("%s: %s", report.Directory, plural(n, "finding")), Exit: ExitThreshold}
	if repairable {
		f.Hint = fmt.Sprintf("`tidings repair %s --yes` does what is said above; `tidings backup` first, or copy the directory", report.Directory)
	}
	return f
}

func doctorFault(dir string, err error) error {
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return &Fault{Code: "data_in_use", Message: locked.Error(), Exit: ExitFailed, Err: err,
			Hint: fmt.Sprintf("stop it first; or check a copy while it runs: tidings backup %s --to TARGET && tidings doctor TARGET", dir)}
	}
	if errors.Is(err, doctor.ErrNewer) {
		return &Fault{Code: "data_format", Message: err.Error(), Exit: ExitFailed, Err: err, Hint: "use the version that made it; nothing was changed"}
	}
	if errors.Is(err, doctor.ErrNotADirectory) {
		return &Fault{Code: "not_found", Message: err.Error(), Exit: ExitFailed, Err: err, Hint: "name the directory that `tidings serve` was started with"}
	}
	fault := *asFault(err)
	fault.Exit = ExitFailed
	return &fault
}

func writeReport(w io.Writer, r *doctor.Report) error {
	fmt.Fprintf(w, "%s: %s, cluster %s\n", r.Directory, r.Format, r.ClusterID)
	fmt.Fprintf(w, "%s, %s, %s with %s in %s, all read\n", plural(r.Topics, "topic"), plural(r.Partitions, "partition"),
		plural(r.Segments, "segment"), plural(int(r.Records), "record"), bytesText(r.SizeBytes))
	opens := "a broker opens it"
	if !r.Opens {
		opens = "no broker opens it"
	}
	if r.Replay > 0 {
		fmt.Fprintf(w, "%s, and replays %d entries of the journal\n", opens, r.Replay)
	} else {
		fmt.Fprintf(w, "%s\n", opens)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(w, findingText(f))
	}
	if r.Clean() {
		fmt.Fprintln(w, "nothing is wrong")
	}
	return nil
}

// findingText tells a finding in one or two lines.
func findingText(f doctor.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", f.Severity)
	if f.File != "" {
		b.WriteString(clean(f.File))
		if f.Position != nil && (f.Bytes > 0 || *f.Position > 0) {
			fmt.Fprintf(&b, " at byte %d", *f.Position)
			if f.Bytes > 0 {
				fmt.Fprintf(&b, " (%d bytes)", f.Bytes)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(clean(f.What))
	if f.Topic != "" && f.Partition != nil {
		fmt.Fprintf(&b, "; topic %s, partition %d", f.Topic, *f.Partition)
		switch {
		case f.FirstOffset == nil:
		case *f.FirstOffset == *f.LastOffset:
			fmt.Fprintf(&b, ", offset %d", *f.FirstOffset)
		default:
			fmt.Fprintf(&b, ", offsets %d to %d", *f.FirstOffset, *f.LastOffset)
		}
	}
	if f.Repair != "" {
		fmt.Fprintf(&b, "\n  repair: %s", clean(f.Repair))
	}
	return b.String()
}

// backupsReport is what the doctor says of a directory of backups.
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
	Needed []string `json:"needed_by,omitempty"` // backup:file
}

func (s *session) doctorBackups(ctx context.Context, dir string) error {
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
	err = s.output().thing(r, func(w io.Writer) error {
		fmt.Fprintf(w, "%s: %s, %s in %s, all read\n", dir, plural(len(r.Backups), "backup"), plural(r.Chunks, "chunk"), bytesText(r.SizeBytes))
		for _, f := range r.Findings {
			fmt.Fprintf(w, "damage: %s: %s\n", clean(f.File), clean(f.What))
			for _, n := range f.Needed {
				fmt.Fprintf(w, "  needed by %s\n", clean(n))
			}
		}
		if len(r.Findings) == 0 {
			fmt.Fprintln(w, "nothing is wrong")
		}
		return nil
	})
	if err == nil && len(r.Findings) > 0 {
		err = &Fault{Code: "findings", Message: fmt.Sprintf("%s: %s", dir, plural(len(r.Findings), "finding")), Exit: ExitThreshold,
			Hint: "back up again to another directory; what is not named above can be restored"}
	}
	return err
}

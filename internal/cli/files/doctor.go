package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/doctor"
	"tidings.dev/internal/vfs"
)

func doctorCommand(s *shell.Session) *cobra.Command {
	return shell.Takes(&cobra.Command{
		Use: "doctor [DIR]", Short: "Check a data directory, or a directory of backups",
		Long: "Reads everything in a data directory on which no broker runs, and lists what is wrong, where, and what `tidings repair`\n" +
			"would do about it. A directory of backups is checked by its checksums. Nothing is written. DIR defaults to --data.\n" +
			"Exit code 0: nothing is wrong; 6: something is; 1: it could not be checked; 3: there is no DIR.",
		Example: "  tidings doctor ./tidings-data\n  tidings doctor /mnt/backups -o json",
		Args:    shell.Arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := directoryOf(cmd, s, args)
			if err != nil {
				return err
			}
			return examine(cmd.Context(), s, dir)
		},
	}, shell.FlagData)
}

// examine checks a data directory or a directory of backups and prints the report.
func examine(ctx context.Context, s *shell.Session, dir string) error {
	if disk, err := vfs.Disk(dir); err == nil {
		isStore := backup.IsStore(disk)
		if err := disk.(io.Closer).Close(); err != nil {
			return err
		}
		if isStore {
			return doctorBackups(ctx, s, dir)
		}
	}
	report, err := doctor.CheckDir(dir)
	if err != nil {
		return doctorFault(dir, err)
	}
	err = s.Output().Value(report, func(w io.Writer) error { return writeReport(w, report) })
	if err != nil || report.Clean() {
		return err
	}
	return findingsFault(report)
}

// findingsFault returns the fault, with exit code 6, for a report with findings.
func findingsFault(report *doctor.Report) *shell.Fault {
	n := 0
	repairable := false
	for _, f := range report.Findings {
		if f.Severity != doctor.Note {
			n++
			repairable = repairable || f.Repair != ""
		}
	}
	f := &shell.Fault{Code: "findings", Message: fmt.Sprintf("%s: %s", report.Directory, shell.Plural(n, "finding")), Exit: shell.ExitFindings}
	if repairable {
		f.Hint = fmt.Sprintf("`tidings repair %s --yes` does the repairs above; `tidings backup` first, or copy the directory", report.Directory)
	}
	return f
}

// doctorFault returns the fault for an error from checking or repairing a data directory.
func doctorFault(dir string, err error) error {
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return &shell.Fault{Code: "data_in_use", Message: locked.Error(), Exit: shell.ExitFailed, Err: err,
			Hint: fmt.Sprintf("stop it first; or check a copy while it runs: tidings backup %s --to TARGET && tidings doctor TARGET", dir)}
	}
	if errors.Is(err, doctor.ErrNewer) {
		return &shell.Fault{Code: "data_format", Message: err.Error(), Exit: shell.ExitFailed, Err: err, Hint: "use the version that made it; nothing was changed"}
	}
	if errors.Is(err, doctor.ErrNotADirectory) {
		return &shell.Fault{Code: "not_found", Message: err.Error(), Exit: shell.ExitFailed, Err: err, Hint: "name the directory that `tidings serve` was started with"}
	}
	fault := *shell.AsFault(err)
	fault.Exit = shell.ExitFailed
	switch fault.Code {
	case "disk_full":
		fault.Hint = "make room on that disk, or work on a copy of the directory on another one"
	case "unwritable":
		fault.Hint = "it takes a user who may read and write that directory, or work on a copy of it"
	}
	return &fault
}

// writeReport prints a report as text.
func writeReport(w io.Writer, r *doctor.Report) error {
	fmt.Fprintf(w, "%s: %s, cluster %s\n", r.Directory, r.Format, r.ClusterID)
	fmt.Fprintf(w, "%s, %s, %s with %s in %s, all read\n", shell.Plural(r.Topics, "topic"), shell.Plural(r.Partitions, "partition"),
		shell.Plural(r.Segments, "segment"), shell.Plural(int(r.Records), "record"), shell.Bytes(r.SizeBytes))
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

// findingText returns a finding as text: one line, or two if there is a repair for it.
func findingText(f doctor.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", f.Severity)
	if f.File != "" {
		b.WriteString(shell.Clean(f.File))
		if f.Position != nil && (f.Bytes > 0 || *f.Position > 0) {
			fmt.Fprintf(&b, " at byte %d", *f.Position)
			if f.Bytes > 0 {
				fmt.Fprintf(&b, " (%d bytes)", f.Bytes)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(shell.Clean(f.What))
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
		fmt.Fprintf(&b, "\n  repair: %s", shell.Clean(f.Repair))
	}
	return b.String()
}

package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/backup"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/vfs"
)

func backupCommand(s *shell.Session) *cobra.Command {
	var to string
	var keep int
	var readAll bool
	c := &cobra.Command{
		Use: "backup [DIR] --to TARGET", Short: "Back a data directory up, while its broker runs",
		Long: "Stores the log of a data directory as it is at one moment: records, positions and topics, with all that was\n" +
			"acknowledged before. What earlier backups in TARGET have is not stored again. A broker may run on DIR, or none. If\n" +
			"one runs, it makes a directory of links below DIR, which is removed at the end; nothing else is written there. DIR\n" +
			"defaults to --data. Exit code 1: DIR or TARGET will not do; 3: there is no DIR; 5: the broker hangs.",
		Example: "  tidings backup ./tidings-data --to /mnt/backups --keep 7",
		Args:    shell.Arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return shell.Usagef("usage: "+cmd.UseLine(), "--to TARGET is missing: where are the backups?")
			}
			if keep < 0 {
				return shell.Usagef("leave it out to keep all", "--keep %d: how many backups are to stay?", keep)
			}
			dir, err := directoryOf(cmd, s, args)
			if err != nil {
				return err
			}
			return backUp(cmd.Context(), s, dir, to, keep, backup.Options{ReadAll: readAll, Progress: progress(s, "backup")})
		},
	}
	c.Flags().StringVar(&to, "to", "", "the directory of backups, `TARGET`; made if it does not exist")
	c.Flags().IntVar(&keep, "keep", 0, "how many backups, the newest, to keep afterwards (default: all)")
	c.Flags().BoolVar(&readAll, "read-all", false, "also read files whose length and time have not changed since the last backup")
	return shell.Takes(c, shell.FlagData, shell.FlagVerbose)
}

// backupReport is the output of `backup`.
type backupReport struct {
	backup.Taken
	Target string         `json:"target"`
	Hot    bool           `json:"hot"` // a broker was running on the data directory
	Took   string         `json:"took"`
	Pruned *backup.Pruned `json:"pruned,omitempty"`
}

func backUp(ctx context.Context, s *shell.Session, dir, to string, keep int, o backup.Options) error {
	began := time.Now()
	store, done, err := openStore(to, true)
	if err != nil {
		return err
	}
	defer done()
	source, hot, err := findSource(ctx, dir, s.Logger())
	if err != nil {
		return err
	}
	taken, err := store.Take(ctx, source.FS, source.Dir, source.Snapshot, o)
	if closeErr := source.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return targetFault(to, err)
	}
	report := backupReport{Taken: taken, Target: to, Hot: hot}
	if keep > 0 {
		pruned, err := store.Prune(keep)
		if err != nil {
			return targetFault(to, fmt.Errorf("the backup %s is made; older ones could not be removed: %w", taken.Name, err))
		}
		report.Pruned = &pruned
	}
	report.Took = time.Since(began).Round(time.Millisecond).String()
	return s.Output().Value(report, func(w io.Writer) error {
		fmt.Fprintf(w, "backup %s of %s: %s in %s, %s new; topics %d, partitions %d; took %s\n",
			report.Name, dir, shell.Bytes(report.SizeBytes), shell.Plural(report.Files, "file"), shell.Bytes(report.NewBytes), report.Topics, report.Partitions, report.Took)
		if report.Pruned != nil && len(report.Pruned.Backups) > 0 {
			fmt.Fprintf(w, "removed %s, which frees %s\n", shell.Plural(len(report.Pruned.Backups), "older backup"), shell.Bytes(report.Pruned.FreedBytes))
		}
		return nil
	})
}

// findSource returns the source of a backup of a data directory: a snapshot by the broker that runs on it (hot is
// true), or one that is made here if no broker runs. The caller must close the source.
func findSource(ctx context.Context, dir string, log *slog.Logger) (source *backup.Source, hot bool, err error) {
	snap, err := broker.SnapshotOf(ctx, dir)
	if err == nil {
		source, err := backup.Hot(snap.Dir, snap.Snapshot, snap.Close)
		return source, true, err
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		fault := &shell.Fault{Code: "backup", Message: err.Error(), Exit: shell.ExitFailed, Err: err}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			fault.Code, fault.Exit, fault.Hint = "unreachable", shell.ExitUnreachable, "wake or end that process; without one, the directory is backed up as it is"
		}
		return nil, false, fault
	}
	source, err = backup.AtRest(ctx, dir, log)
	if err == nil {
		return source, false, nil
	}
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return nil, false, &shell.Fault{Code: "data_in_use", Message: locked.Error(), Exit: shell.ExitFailed, Err: err,
			Hint: "that process is an older version, which cannot be asked for a backup, or it is starting or ending: try again, or end it"}
	}
	return nil, false, directoryFault(dir, err)
}

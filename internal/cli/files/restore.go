package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/vfs"
)

func restoreCommand(s *shell.Session) *cobra.Command {
	var at string
	var list bool
	c := &cobra.Command{
		Use: "restore TARGET --data DIR | --list", Short: "Make a data directory out of a backup",
		Long: "Restores a backup, the newest unless --at names another, to a directory that is empty or does not exist. Every byte is\n" +
			"checked. To clients the log goes back to the moment of the backup: its leader epochs are higher, so that they notice,\n" +
			"and no producer id is given out twice. With --list it lists the backups of TARGET, and restores nothing.\n" +
			"Exit code 1: a backup is damaged, or DIR is not empty; 3: there is no such backup.",
		Example: "  tidings restore /mnt/backups --list\n  tidings restore /mnt/backups --data ./restored",
		Args:    shell.Arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				if err := shell.RefuseWith(cmd, "with --list", "at", shell.FlagData); err != nil {
					return err
				}
				return listBackups(s, args[0])
			}
			if s.Data == "" {
				return shell.Usagef("usage: "+cmd.UseLine(), "--data DIR is missing: where shall it be?")
			}
			return restore(cmd.Context(), s, args[0], at, s.Data)
		},
	}
	c.Flags().StringVar(&at, "at", "", "the name of the backup to restore (default: the newest)")
	c.Flags().BoolVar(&list, "list", false, "list the backups, and restore nothing")
	return shell.Takes(c, shell.FlagData)
}

// listBackups prints the backups in a directory. A backup that cannot be restored is reported on stderr.
func listBackups(s *shell.Session, target string) error {
	store, done, err := openStore(target, false)
	if err != nil {
		return err
	}
	defer done()
	names, err := store.Names()
	if err != nil {
		return storeFault(target, err)
	}
	var heads []backup.Head
	for _, name := range names {
		m, err := store.Load(name)
		if err != nil {
			s.Report(storeFault(target, err)) // the other backups can still be restored
			continue
		}
		heads = append(heads, m.Head)
	}
	return shell.List(s.Output(), []string{"NAME", "TAKEN", "TOPICS", "PARTITIONS", "SIZE"}, heads, func(h backup.Head) []string {
		return []string{h.Name, h.TakenAt.Format(time.RFC3339), fmt.Sprint(h.Topics), fmt.Sprint(h.Partitions), shell.Bytes(h.SizeBytes)}
	})
}

// restoreReport is the output of `restore`.
type restoreReport struct {
	backup.Head
	Data string `json:"data"`
	Took string `json:"took"`
}

func restore(ctx context.Context, s *shell.Session, target, at, dir string) error {
	began := time.Now()
	store, done, err := openStore(target, false)
	if err != nil {
		return err
	}
	defer done()
	m, err := store.Load(at)
	if err != nil {
		return storeFault(target, err)
	}
	into, err := vfs.Disk(dir)
	if err != nil {
		return directoryFault(dir, err)
	}
	defer into.(io.Closer).Close()
	if err := store.Restore(ctx, m, into, progress(s, "restore")); err != nil {
		if taken, ok := errors.AsType[*backup.NotEmptyError](err); ok {
			return &shell.Fault{Code: "data_not_empty", Message: fmt.Sprintf("%s: %v", dir, taken), Exit: shell.ExitFailed, Err: err,
				Hint: "name a directory that is empty or not there; nothing was changed"}
		}
		if _, ok := errors.AsType[*backup.DamageError](err); ok {
			return storeFault(target, err)
		}
		return directoryFault(dir, err)
	}
	report := restoreReport{Head: m.Head, Data: dir, Took: time.Since(began).Round(time.Millisecond).String()}
	return s.Output().Value(report, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restored %s to %s: %s in %s; took %s\n  tidings serve --data %s\n",
			report.Name, filepath.Clean(dir), shell.Bytes(report.SizeBytes), shell.Plural(report.Files, "file"), report.Took, dir)
		return err
	})
}

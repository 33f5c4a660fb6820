package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/backup"
	"tidings.dev/internal/vfs"
)

func (s *session) backupCommand() *cobra.Command {
	var to string
	var keep int
	var readAll bool
	c := &cobra.Command{
		Use: "backup DIR --to TARGET", Short: "Back a data directory up, while its broker runs",
		Long: "Stores the log of a data directory as it is at one moment: records, positions and topics, with all that was\n" +
			"acknowledged before. What earlier backups in TARGET have is not stored again. A broker may run on DIR, or none;\n" +
			"nothing is written to DIR but, by the broker, a directory of links that goes away at the end.",
		Args: func(cmd *cobra.Command, args []string) error {
			if s.brokers != "" {
				return usagef("name the data directory, on the machine where it is: "+cmd.UseLine(), "a backup is made of files, which --brokers does not reach")
			}
			return arguments(0, 1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("usage: "+cmd.UseLine(), "where to? --to TARGET is missing")
			}
			if keep < 0 {
				return usagef("leave it out to keep all", "--keep %d: how many backups are to stay?", keep)
			}
			return s.backUp(cmd.Context(), s.directoryOf(args), to, keep, backup.Options{ReadAll: readAll, Progress: s.progress("backup")})
		},
	}
	c.Flags().StringVar(&to, "to", "", "the directory of backups; made if it is not there")
	c.Flags().IntVar(&keep, "keep", 0, "afterwards remove all but the newest so many (default: keep all)")
	c.Flags().BoolVar(&readAll, "read-all", false, "read files too whose length and time have not changed since the last backup")
	return c
}

// directoryOf is the data directory that a command is about: its argument, else --data.
func (s *session) directoryOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return s.dataDir()
}

type backupReport struct {
	backup.Taken
	Target string         `json:"target"`
	Hot    bool           `json:"hot"` // a broker ran
	Took   string         `json:"took"`
	Pruned *backup.Pruned `json:"pruned,omitempty"`
}

func (s *session) backUp(ctx context.Context, dir, to string, keep int, o backup.Options) error {
	began := time.Now()
	if err := mustBeDirectory(dir); err != nil {
		return err
	}
	store, done, err := openStore(to, true)
	if err != nil {
		return err
	}
	defer done()
	source, hot, err := findSource(ctx, dir, s.logger())
	if err != nil {
		return err
	}
	taken, err := store.Take(ctx, source.FS, source.Dir, source.Snapshot, o)
	if closeErr := source.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return storeFault(to, err)
	}
	report := backupReport{Taken: taken, Target: to, Hot: hot}
	if keep > 0 {
		pruned, err := store.Prune(keep)
		if err != nil {
			return storeFault(to, fmt.Errorf("the backup %s is made; older ones could not be removed: %w", taken.Name, err))
		}
		report.Pruned = &pruned
	}
	report.Took = time.Since(began).Round(time.Millisecond).String()
	return s.output().thing(report, func(w io.Writer) error {
		fmt.Fprintf(w, "backup %s of %s: %s in %s, %s new; topics %d, partitions %d; took %s\n",
			report.Name, dir, bytesText(report.SizeBytes), plural(report.Files, "file"), bytesText(report.NewBytes), report.Topics, report.Partitions, report.Took)
		if report.Pruned != nil && len(report.Pruned.Backups) > 0 {
			fmt.Fprintf(w, "removed %s, which frees %s\n", plural(len(report.Pruned.Backups), "older backup"), bytesText(report.Pruned.FreedBytes))
		}
		return nil
	})
}

// findSource asks the broker that runs on a directory for a snapshot, or makes one where none runs.
func findSource(ctx context.Context, dir string, log *slog.Logger) (source *backup.Source, hot bool, err error) {
	snap, err := broker.SnapshotOf(ctx, dir)
	if err == nil {
		source, err := backup.Hot(snap.Dir, snap.Snapshot, snap.Close)
		return source, true, err
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, false, &Fault{Code: "backup", Message: err.Error(), Exit: ExitFailed, Err: err}
	}
	source, err = backup.AtRest(ctx, dir, log)
	if err == nil {
		return source, false, nil
	}
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return nil, false, &Fault{Code: "data_in_use", Message: locked.Error(), Exit: ExitFailed, Err: err,
			Hint: "that process is an older version, which can't be asked for a backup, or it is starting or ending: try again, or end it"}
	}
	return nil, false, directoryFault(dir, err)
}

// directoryFault says why a data directory can't be used.
func directoryFault(dir string, err error) error {
	if foreign, ok := errors.AsType[*broker.ForeignError](err); ok {
		return &Fault{Code: "data_foreign", Message: fmt.Sprintf("%s: %v", dir, foreign), Exit: ExitFailed, Err: err,
			Hint: "name the directory that `tidings serve` was started with"}
	}
	if format, ok := errors.AsType[*broker.FormatError](err); ok {
		return &Fault{Code: "data_format", Message: fmt.Sprintf("%s: %v", dir, format), Exit: ExitFailed, Err: err,
			Hint: "use the version that made it; nothing was changed"}
	}
	fault := *asFault(err)
	switch fault.Code {
	case "failed":
		fault.Code, fault.Hint = "data", fmt.Sprintf("`tidings doctor %s` says what is wrong with it", dir)
	case "not_found":
		fault.Message, fault.Hint = fmt.Sprintf("%s is no data directory: %v", dir, err), "name the directory that `tidings serve` was started with"
	}
	return &fault
}

func mustBeDirectory(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &Fault{Code: "not_found", Message: fmt.Sprintf("no data directory at %s", dir), Exit: ExitNotFound, Err: err,
			Hint: "name the directory that `tidings serve` or `tidings demo` was started with"}
	}
	return nil
}

// openStore opens a directory of backups; toWrite makes it, and keeps others from writing to it until release.
func openStore(dir string, toWrite bool) (_ *backup.Store, release func(), err error) {
	if info, statErr := os.Stat(dir); !toWrite && (statErr != nil || !info.IsDir()) {
		return nil, nil, &Fault{Code: "not_found", Message: fmt.Sprintf("no backups at %s", dir), Exit: ExitNotFound, Err: statErr,
			Hint: "name the directory that `tidings backup --to` was given"}
	}
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, nil, storeFault(dir, err)
	}
	closers := []func() error{disk.(io.Closer).Close}
	closeAll := func() {
		for _, c := range slices.Backward(closers) {
			_ = c() // nothing of what was written depends on it
		}
	}
	open := backup.Open
	if toWrite {
		open = backup.Create
		// Before a lock file is put there.
		if err = backup.Check(disk); err == nil {
			var lock *vfs.DirLock
			if lock, err = vfs.Lock(dir); err == nil {
				closers = append(closers, lock.Release)
			}
		}
	}
	var store *backup.Store
	if err == nil {
		store, err = open(disk)
	}
	if err != nil {
		closeAll()
		return nil, nil, storeFault(dir, err)
	}
	return store, closeAll, nil
}

// storeFault says what is wrong with a directory of backups.
func storeFault(dir string, err error) error {
	fault := *asFault(err)
	fault.Message = fmt.Sprintf("%s: %v", dir, err)
	if _, ok := errors.AsType[*vfs.LockedError](err); ok {
		fault.Code, fault.Message, fault.Hint = "backups_in_use", err.Error(), "wait for that backup to end"
	} else if _, ok := errors.AsType[*backup.ForeignError](err); ok {
		fault.Code, fault.Hint = "backups_foreign", "name an empty directory, or one that holds backups"
	} else if _, ok := errors.AsType[*backup.FormatError](err); ok {
		fault.Code, fault.Hint = "backups_format", "use the version that made them; nothing was changed"
	} else if _, ok := errors.AsType[*backup.DamageError](err); ok {
		fault.Code, fault.Hint = "backups_damaged", fmt.Sprintf("`tidings doctor %s` lists all damage and the backups that it touches", dir)
	} else if errors.Is(err, backup.ErrOtherLog) {
		fault.Code, fault.Hint = "backups_of_another", "name another target: one directory has the backups of one log"
	} else if errors.Is(err, backup.ErrNone) {
		fault.Code, fault.Exit, fault.Hint = "not_found", ExitNotFound, "`tidings restore TARGET --list` lists the backups there"
	}
	return &fault
}

func (s *session) restoreCommand() *cobra.Command {
	var at string
	var list bool
	c := &cobra.Command{
		Use: "restore TARGET --data DIR", Short: "Make a data directory out of a backup",
		Long: "Restores a backup, the newest one unless --at names another, to a directory that is empty or not there. Every byte is\n" +
			"checked. Clients find a log that went back to the moment of the backup: leader epochs are higher, no producer id is\n" +
			"given out a second time.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return s.listBackups(args[0])
			}
			if s.data == "" {
				return usagef("usage: "+cmd.UseLine(), "where to? --data DIR is missing")
			}
			return s.restore(cmd.Context(), args[0], at, s.data)
		},
	}
	c.Flags().StringVar(&at, "at", "", "the name of the backup to restore (default: the newest)")
	c.Flags().BoolVar(&list, "list", false, "list the backups, and restore nothing")
	return c
}

func (s *session) listBackups(target string) error {
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
			s.report(asFault(storeFault(target, err))) // the others can still be restored
			continue
		}
		heads = append(heads, m.Head)
	}
	return list(s.output(), []string{"NAME", "TAKEN", "TOPICS", "PARTITIONS", "SIZE"}, heads, func(h backup.Head) []string {
		return []string{h.Name, h.TakenAt.Format(time.RFC3339), fmt.Sprint(h.Topics), fmt.Sprint(h.Partitions), bytesText(h.SizeBytes)}
	})
}

type restoreReport struct {
	backup.Head
	Data string `json:"data"`
	Took string `json:"took"`
}

func (s *session) restore(ctx context.Context, target, at, dir string) error {
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
	if err := store.Restore(ctx, m, into, s.progress("restore")); err != nil {
		if taken, ok := errors.AsType[*backup.NotEmptyError](err); ok {
			return &Fault{Code: "data_not_empty", Message: fmt.Sprintf("%s: %v", dir, taken), Exit: ExitFailed, Err: err,
				Hint: "name a directory that is empty or not there; nothing was changed"}
		}
		if _, ok := errors.AsType[*backup.DamageError](err); ok {
			return storeFault(target, err)
		}
		return directoryFault(dir, err)
	}
	report := restoreReport{Head: m.Head, Data: dir, Took: time.Since(began).Round(time.Millisecond).String()}
	return s.output().thing(report, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restored %s to %s: %s in %s; took %s\n  tidings serve --data %s\n",
			report.Name, filepath.Clean(dir), bytesText(report.SizeBytes), plural(report.Files, "file"), report.Took, dir)
		return err
	})
}

// progress returns what shows on a terminal how far something is; nil where nobody looks on.
func (s *session) progress(what string) func(done, total int64) {
	f, ok := s.stderr.(*os.File)
	if !ok || s.format.machine() || !newOutput(f, s.format).terminal {
		return nil
	}
	var shown time.Time
	return func(done, total int64) {
		if time.Since(shown) < 100*time.Millisecond && done < total {
			return
		}
		shown = time.Now()
		end := ""
		if done >= total {
			end = "\n"
		}
		fmt.Fprintf(f, "\r%s: %s of %s%s", what, bytesText(done), bytesText(total), end)
	}
}

// bytesText tells bytes as a person reads them.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n), "KMGTP"
	i := -1
	for value >= unit && i < len(units)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[i])
}

package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/vfs"
)

// openStore opens a directory of backups. If toWrite is true, it creates the directory if necessary and locks it
// against other writers. The caller must call release in the end. Errors are faults.
func openStore(dir string, toWrite bool) (_ *backup.Store, release func(), err error) {
	if info, statErr := os.Stat(dir); !toWrite && (statErr != nil || !info.IsDir()) {
		return nil, nil, &shell.Fault{Code: "not_found", Message: fmt.Sprintf("no backups at %s", dir), Exit: shell.ExitNotFound, Err: statErr,
			Hint: "name the directory that `tidings backup --to` was given"}
	}
	fault := storeFault
	if toWrite {
		fault = targetFault
	}
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, nil, fault(dir, err)
	}
	closers := []func() error{disk.(io.Closer).Close}
	closeAll := func() {
		for _, c := range slices.Backward(closers) {
			_ = c() // nothing was written through these handles
		}
	}
	open := backup.Open
	if toWrite {
		open = backup.Create
		// Check must come first, as Lock puts a file into the directory.
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
		return nil, nil, fault(dir, err)
	}
	return store, closeAll, nil
}

// targetFault returns the fault for an error from writing to the directory of backups that --to has named.
func targetFault(dir string, err error) error {
	fault := *shell.AsFault(storeFault(dir, err))
	switch fault.Code {
	case "disk_full":
		fault.Hint = "make room on that disk, or name a directory on another one with --to; the backups that were there are whole"
	case "unreadable":
		fault.Code, fault.Hint = "unwritable", "name a directory with --to that you may write to, and back up a directory that you may read"
	}
	return &fault
}

// storeFault returns the fault for an error from reading a directory of backups.
func storeFault(dir string, err error) error {
	fault := *shell.AsFault(err)
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
		fault.Code, fault.Exit, fault.Hint = "not_found", shell.ExitNotFound, "`tidings restore TARGET --list` lists the backups there"
	} else if fault.Code == "unwritable" {
		fault.Code, fault.Hint = "unreadable", "it takes a user who may read that directory"
	}
	return &fault
}

package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/vfs"
)

// The modes of a broker's directories and files, which give access to the owner only.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// CheckDir does what Check does for a directory on the disk, and also checks permissions and free space. It changes
// nothing. A *vfs.LockedError means that a broker is running on the directory. The broker must be stopped first.
func CheckDir(dir string) (report *Report, err error) {
	lock, err := vfs.LockShared(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	return checkDir(dir)
}

func checkDir(dir string) (*Report, error) {
	disk, err := vfs.Disk(dir)
	if err != nil {
		return nil, err
	}
	defer disk.(io.Closer).Close()
	report, err := Check(disk, dir)
	if err != nil {
		return nil, err
	}
	checkFreeSpace(dir, report)
	return report, checkModes(dir, report)
}

// checkFreeSpace adds a finding if the disk has so little space that a broker would find it full.
func checkFreeSpace(dir string, report *Report) {
	free, known := vfs.FreeBytes(dir)
	if !known || free >= report.roomBytes {
		return
	}
	report.Findings = append(report.Findings, Finding{Severity: Warning, Kind: "room", What: fmt.Sprintf(
		"the disk has %d bytes free: a broker appends nothing before it has %d. %d of %d files are left that are kept back for positions and deletions",
		free, report.roomBytes, report.keptBack, journal.ReserveFiles)})
}

// checkModes adds findings for files that users other than the owner may read or write, and for symbolic links, which
// can lead out of the directory.
func checkModes(dir string, report *Report) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			report.Findings = append(report.Findings, Finding{Severity: Warning, Kind: "foreign", File: filepath.ToSlash(below), What: "it is a symbolic link, which no broker makes"})
			return nil
		}
		if below == "." {
			// The user may have chosen another mode for the top directory. Other users see names there but cannot open
			// files.
			return nil
		}
		want := fs.FileMode(fileMode)
		if info.IsDir() {
			want = dirMode
		}
		if more := info.Mode().Perm() &^ want; more != 0 {
			report.Findings = append(report.Findings, Finding{Severity: Warning, Kind: "mode", File: filepath.ToSlash(below),
				What: fmt.Sprintf("its mode is %04o: others than the owner may use it", info.Mode().Perm()), Repair: fmt.Sprintf("set %04o", want)})
			report.modes = append(report.modes, modeChange{name, want})
		}
		return nil
	})
}

// modeChange is a change of permissions that RepairDir makes.
type modeChange struct {
	name string
	mode fs.FileMode
}

// RepairDir checks a directory on the disk and then does what the findings propose, as Repair does. It locks the
// directory meanwhile. A *vfs.LockedError means that a broker is running on the directory. before is the report of the
// check. It is set if the check has succeeded, even if err is not nil.
func RepairDir(dir string) (before *Report, repaired *Repaired, err error) {
	lock, err := vfs.Lock(dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	before, err = checkDir(dir)
	if err != nil {
		return nil, nil, err
	}
	disk, err := vfs.Disk(dir)
	if err != nil {
		return before, nil, err
	}
	defer disk.(io.Closer).Close()
	repaired, err = Repair(disk, before, time.Now())
	if errors.Is(err, ErrNothing) && len(before.modes) > 0 {
		repaired, err = &Repaired{Done: []string{}, Lost: []string{}}, nil
	}
	if err != nil {
		return before, nil, err
	}
	for _, c := range before.modes {
		err := os.Chmod(c.name, c.mode)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Repair has moved the file away
		}
		if err != nil {
			return before, repaired, err
		}
		repaired.Done = append(repaired.Done, fmt.Sprintf("set the mode of %s to %04o", c.name, c.mode))
	}
	repaired.After, err = checkDir(dir)
	return before, repaired, err
}

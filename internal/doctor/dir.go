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

// Modes of what a broker makes: nobody but its owner gets in.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// CheckDir is Check of a real directory, with permissions; nothing is written to it. *vfs.LockedError says that a broker
// runs on it: ask that one, or stop it.
func CheckDir(dir string) (report *Report, err error) {
	watch, err := vfs.Watch(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, watch.Release()) }()
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
	checkRoom(dir, report)
	return report, checkModes(dir, report)
}

// checkRoom says so if a broker would find the disk full.
func checkRoom(dir string, report *Report) {
	free, known := vfs.FreeBytes(dir)
	if !known || free >= report.roomBytes {
		return
	}
	report.Findings = append(report.Findings, Finding{Severity: Warning, Kind: "room", What: fmt.Sprintf(
		"the disk has %d bytes free: a broker appends nothing before it has %d. %d of %d files are left that are kept back for positions and deletions",
		free, report.roomBytes, report.keptBack, journal.ReserveFiles)})
}

// checkModes looks for what others may read or write, and for links, which lead out of the directory.
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
			return nil // whoever made it may have let others see its names; they can't get at anything
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

type modeChange struct {
	name string
	mode fs.FileMode
}

// RepairDir checks a real directory and does what the findings say: see Repair. It has the directory to itself
// meanwhile: *vfs.LockedError.
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
			continue // moved away meanwhile
		}
		if err != nil {
			return before, repaired, err
		}
		repaired.Done = append(repaired.Done, fmt.Sprintf("set the mode of %s to %04o", c.name, c.mode))
	}
	repaired.After, err = checkDir(dir)
	return before, repaired, err
}

package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// What stands in a data directory (docs/format/directory.md):
//
//	FORMAT                  one line that names the format and its version
//	LOCK, tidings.sock      the broker's, while it runs
//	checkpoint-<sequence>   the two newest checkpoints
//	journal/                the write-ahead journal
//	topics/<id>/<partition> segments and indexes
const (
	formatFile       = "FORMAT"
	formatLine       = "tidings 1"
	journalDir       = "journal"
	topicsDir        = "topics"
	checkpointPrefix = "checkpoint-"
	temporarySuffix  = ".new"
)

// harmless are names that may stand in a directory before it is a data directory: the broker's own, and what mkfs makes.
var harmless = []string{"LOCK", "tidings.sock", "control.sock", "lost+found", formatFile + temporarySuffix}

// CheckDirectory says why a directory can't be opened, before anything is changed in it: *ForeignError or *FormatError.
// nil: it is a data directory, or empty.
func CheckDirectory(fsys vfs.FS) error {
	_, err := checkDirectory(fsys)
	return err
}

func checkDirectory(fsys vfs.FS) (isNew bool, _ error) {
	line, err := vfs.ReadFile(fsys, formatFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, refuseForeign(fsys)
	case err != nil:
		return false, fmt.Errorf("engine: %w", err)
	}
	if got := strings.TrimSpace(string(line)); got != formatLine {
		return false, &FormatError{Found: got}
	}
	return false, nil
}

// prepare makes an empty directory a data directory, and refuses one that is something else.
func prepare(fsys vfs.FS) error {
	isNew, err := checkDirectory(fsys)
	if err != nil {
		return err
	}
	if isNew {
		if err := writeFile(fsys, formatFile, []byte(formatLine+"\n")); err != nil {
			return fmt.Errorf("engine: make a data directory: %w", err)
		}
	}
	if err := fsys.RemoveAll(SnapshotDir); err != nil {
		return fmt.Errorf("engine: remove what is left of a snapshot: %w", err)
	}
	for _, dir := range []string{journalDir, topicsDir} {
		if err := fsys.MkdirAll(dir); err != nil {
			return fmt.Errorf("engine: make a data directory: %w", err)
		}
	}
	return nil
}

const maxForeignNames = 5

func refuseForeign(fsys vfs.FS) error {
	entries, err := fsys.List(".")
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	var foreign []string
	for _, entry := range entries {
		if !slices.Contains(harmless, entry.Name) && len(foreign) < maxForeignNames {
			foreign = append(foreign, entry.Name)
		}
	}
	if len(foreign) > 0 {
		return &ForeignError{Names: foreign}
	}
	return nil
}

func checkpointName(sequence uint64) string {
	return fmt.Sprintf("%s%016d", checkpointPrefix, sequence)
}

// checkpointSequence reads the sequence out of a file name; false: it is no checkpoint's.
func checkpointSequence(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// parseTopicID reads a topic's directory name.
func parseTopicID(name string) (id meta.TopicID, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return meta.TopicID(b), true
}

// writeFile makes a file appear durably with all its content, or not at all.
func writeFile(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name + temporarySuffix)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		// Half a file is of no use, and its room may be.
		return errors.Join(err, fsys.Remove(name+temporarySuffix))
	}
	if err := fsys.Rename(name+temporarySuffix, name); err != nil {
		return err
	}
	if err := fsys.SyncDir("."); err != nil {
		return fmt.Errorf("%w: %w", errSyncDir, err)
	}
	return nil
}

// errSyncDir says that it is not known whether a name has reached the disk.
var errSyncDir = errors.New("engine: a directory was not synced")

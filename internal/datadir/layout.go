// Package datadir defines the format of a data directory: the names of its files, and the bytes of checkpoints, of
// journal entries and of the list of contents of a snapshot. The engine reads and writes them in a running broker; the
// doctor and backups read them when no broker is running. The format of segments is in package partition, and that of
// the frames around journal entries in package journal.
package datadir

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

// Names in a data directory (docs/format/directory.md):
//
//	FORMAT                  one line that names the format and its version
//	LOCK, tidings.sock      the broker's, while it runs
//	checkpoint-<sequence>   the two newest checkpoints
//	journal/                the write-ahead journal
//	topics/<id>/<partition> segments and indexes
//	snapshot.new/           a snapshot, while a backup reads it
const (
	FormatFile  = "FORMAT"
	FormatLine  = "tidings 1" // the content of FormatFile, without its newline
	JournalDir  = "journal"
	TopicsDir   = "topics"
	SnapshotDir = "snapshot" + vfs.TemporarySuffix

	checkpointPrefix = "checkpoint-"
	damagedPrefix    = "damaged-"
)

// Partition identifies one partition by the id of its topic, which no other topic ever gets, and its index in the
// topic.
type Partition struct {
	Topic meta.TopicID
	Index int32
}

// Dir returns the path of the partition's directory, relative to the data directory.
func (p Partition) Dir() string { return fmt.Sprintf("%s/%d", TopicDir(p.Topic), p.Index) }

// TopicDir returns the path of a topic's directory, relative to the data directory.
func TopicDir(id meta.TopicID) string { return TopicsDir + "/" + id.String() }

// ParseTopicID parses the name of a topic's directory in TopicsDir. It also accepts upper-case hexadecimal digits.
func ParseTopicID(name string) (id meta.TopicID, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return meta.TopicID(b), true
}

// CheckpointName returns the file name of the checkpoint with a sequence number. The order of the names is that of the
// numbers.
func CheckpointName(sequence uint64) string {
	return fmt.Sprintf("%s%016d", checkpointPrefix, sequence)
}

// ParseCheckpointName returns the sequence number in the name of a checkpoint file. ok is false for all other names.
func ParseCheckpointName(name string) (sequence uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// DamagedCheckpointName returns the name to which recovery renames a damaged checkpoint file.
func DamagedCheckpointName(name string) string { return damagedPrefix + name }

// IsDamagedCheckpoint reports whether a file is a damaged checkpoint that recovery has renamed.
func IsDamagedCheckpoint(name string) bool {
	return strings.HasPrefix(name, damagedPrefix+checkpointPrefix)
}

// MayBeInSnapshot reports whether name can be the path of a file or directory of a snapshot: FORMAT, the list of a
// snapshot's content, a checkpoint, and what is in the directories of journal and topics. It is false for the files by
// which a running broker locks its directory and is reached, and for every path that another system could read in
// another way than this one.
func MayBeInSnapshot(name string) bool {
	if !fs.ValidPath(name) || strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/", r)
	}) {
		return false
	}
	first, _, nested := strings.Cut(name, "/")
	if first == JournalDir || first == TopicsDir {
		return true
	}
	_, checkpoint := ParseCheckpointName(name)
	return !nested && (checkpoint || name == FormatFile || name == SnapshotContent)
}

// harmless are the names that a directory may contain before it becomes a data directory: those of the broker's own
// files, and lost+found, which mkfs creates.
var harmless = []string{"LOCK", "tidings.sock", "control.sock", "lost+found", FormatFile + vfs.TemporarySuffix}

// Check returns nil if a directory is a data directory of this version or can become one. Otherwise it returns a
// *ForeignError, a *FormatError or an error of I/O. It changes nothing.
func Check(fsys vfs.FS) error {
	_, err := check(fsys)
	return err
}

func check(fsys vfs.FS) (isNew bool, _ error) {
	line, err := vfs.ReadFile(fsys, FormatFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, refuseForeign(fsys)
	case err != nil:
		return false, fmt.Errorf("engine: %w", err)
	}
	if got := strings.TrimSpace(string(line)); got != FormatLine {
		return false, &FormatError{Found: got}
	}
	return false, nil
}

// Prepare makes an empty directory a data directory, or removes the files of an interrupted snapshot from a data
// directory. If it returns an error of Check, it has changed nothing. Other errors are those of writing.
func Prepare(fsys vfs.FS) error {
	isNew, err := check(fsys)
	if err != nil {
		return err
	}
	if isNew {
		if err := vfs.WriteFile(fsys, FormatFile, []byte(FormatLine+"\n")); err != nil {
			return fmt.Errorf("engine: make a data directory: %w", err)
		}
	}
	if err := fsys.RemoveAll(SnapshotDir); err != nil {
		return fmt.Errorf("engine: remove what is left of a snapshot: %w", err)
	}
	for _, dir := range []string{JournalDir, TopicsDir} {
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

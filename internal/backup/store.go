// Package backup stores snapshots of a log in a directory of backups. Content that several backups have in common is
// stored once. A Store takes, verifies, restores and prunes backups. A Source is a snapshot from which a backup is
// taken.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"tidings.dev/internal/vfs"
)

// The files in a directory of backups (docs/format/backup.md):
//
//	TIDINGS-BACKUP            one line: this is one, and of which version
//	LOCK                      held by the process that writes to it
//	chunks/1f/1f8a…           at most 4 MiB of some file; named by their SHA-256, in hexadecimal
//	backups/20260722T101530.123Z.json  a manifest: which chunks make which files
//	*.new                     a file on its way to being renamed; means nothing
const (
	formatFile     = "TIDINGS-BACKUP"
	formatLine     = "tidings backup 1"
	chunksDir      = "chunks"
	backupsDir     = "backups"
	manifestSuffix = ".json"

	// ChunkBytes is the size of a chunk in bytes. The last chunk of a file may be shorter. A segment that has grown
	// since an earlier backup has all full chunks in common with that backup.
	ChunkBytes = 4 << 20
)

var (
	// ErrNone means that a directory contains no backup, or not the requested one.
	ErrNone = errors.New("backup: there is no such backup")
	// ErrOtherLog means that a directory contains backups of a log with another cluster id.
	ErrOtherLog = errors.New("backup: these are backups of another log")
)

// ForeignError means that a directory contains files that do not belong to backups. Names are the first of them, in
// order.
type ForeignError struct{ Names []string } // at most five

func (e *ForeignError) Error() string {
	return fmt.Sprintf("backup: the directory is not empty and holds no backups: there is %q", e.Names)
}

// FormatError means that another version of the program has written the backups. Found is the line that names the
// version.
type FormatError struct{ Found string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("backup: the directory has format %q; this program reads and writes %q", e.Found, formatLine)
}

// DamageError describes a file in a directory of backups that is missing or not as it was written.
type DamageError struct {
	File   string // name of the file, relative to the directory of backups
	Reason string
	Needed []string // files of the log that need the chunk, if File is a chunk; nil for a manifest
}

func (e *DamageError) Error() string { return fmt.Sprintf("backup: %s: %s", e.File, e.Reason) }

// Store is a directory of backups. It is not safe for concurrent use. The caller must make sure that no other process
// writes to the directory, for which it can use vfs.Lock. All methods block on I/O.
type Store struct {
	fs    vfs.FS
	dirty map[string]bool // directories of chunks that must be synced
}

// Open opens a directory of backups. The error is ErrNone if the directory is empty, a *ForeignError, a *FormatError,
// or one of I/O.
func Open(fsys vfs.FS) (*Store, error) {
	line, err := vfs.ReadFile(fsys, formatFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseForeign(fsys); err != nil {
			return nil, err
		}
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	if got := strings.TrimSpace(string(line)); got != formatLine {
		return nil, &FormatError{Found: got}
	}
	return &Store{fs: fsys, dirty: map[string]bool{}}, nil
}

// Create opens a directory of backups as Open does. If the directory is empty, Create makes it a directory of backups.
func Create(fsys vfs.FS) (*Store, error) {
	s, err := Open(fsys)
	if !errors.Is(err, ErrNone) {
		return s, err
	}
	if err := vfs.WriteFile(fsys, formatFile, []byte(formatLine+"\n")); err != nil {
		return nil, err
	}
	return Open(fsys)
}

// Check returns nil if a directory is a directory of backups or empty, and the error of Open otherwise. It changes
// nothing.
func Check(fsys vfs.FS) error {
	if _, err := Open(fsys); !errors.Is(err, ErrNone) {
		return err
	}
	return nil
}

// IsStore reports whether a directory is a directory of backups of any version.
func IsStore(fsys vfs.FS) bool {
	_, err := fsys.Stat(formatFile)
	return err == nil
}

// refuseForeign returns a *ForeignError if a directory contains files that do not belong to backups.
func refuseForeign(fsys vfs.FS) error {
	entries, err := fsys.List(".")
	if err != nil {
		return err
	}
	harmless := []string{"LOCK", "lost+found", formatFile + vfs.TemporarySuffix}
	var foreign []string
	for _, e := range entries {
		if !slices.Contains(harmless, e.Name) && len(foreign) < 5 {
			foreign = append(foreign, e.Name)
		}
	}
	if len(foreign) > 0 {
		return &ForeignError{foreign}
	}
	return nil
}

// hash is the SHA-256 of a chunk in lower-case hexadecimal digits. It is the name of the chunk's file.
type hash string

func hashOf(b []byte) hash {
	sum := sha256.Sum256(b)
	return hash(hex.EncodeToString(sum[:]))
}

func (h hash) path() string { return path.Join(chunksDir, string(h[:2]), string(h)) }

func (h hash) valid() bool {
	b, err := hex.DecodeString(string(h))
	return err == nil && len(b) == sha256.Size && strings.ToLower(string(h)) == string(h)
}

// has reports whether the store has a chunk with the right length. It does not verify the content, as get does.
func (s *Store) has(h hash, sizeBytes int64) bool {
	info, err := s.fs.Stat(h.path())
	return err == nil && !info.Dir && info.SizeBytes == sizeBytes
}

// put stores a chunk if the store does not have it yet, which stored reports. When put returns, the content of the
// chunk's file is durable. The name is durable after syncChunks.
func (s *Store) put(b []byte) (h hash, stored bool, err error) {
	h = hashOf(b)
	if s.has(h, int64(len(b))) {
		return h, false, nil
	}
	dir := path.Dir(h.path())
	if err := s.fs.MkdirAll(dir); err != nil {
		return h, false, err
	}
	if err := vfs.WriteFileUnsynced(s.fs, h.path(), b); err != nil {
		return h, false, err
	}
	s.dirty[dir] = true
	return h, true, nil
}

// get reads a chunk and verifies it. The error is a *DamageError or one of I/O.
func (s *Store) get(h hash) ([]byte, error) {
	b, err := vfs.ReadFile(s.fs, h.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{File: h.path(), Reason: "the chunk is missing"}
	}
	if err != nil {
		return nil, err
	}
	if got := hashOf(b); got != h {
		return nil, &DamageError{File: h.path(), Reason: "its bytes have the checksum " + string(got)}
	}
	return b, nil
}

// syncChunks makes the names of all chunks that were stored durable.
func (s *Store) syncChunks() error {
	for dir := range s.dirty {
		if err := s.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	clear(s.dirty)
	return nil
}

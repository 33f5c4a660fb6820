// Package backup keeps images of data directories, several of them in one place, so that what they share is kept once.
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

// What stands in a directory of backups (docs/format/backup.md):
//
//	TIDINGS-BACKUP            one line: this is one, and of which version
//	LOCK                      of whoever writes to it
//	chunks/1f/1f8a…           at most 4 MiB of some file, under the SHA-256 of them, in hexadecimal
//	backups/20260722T101530.123Z.json  a manifest: which chunks make which files
//	*.new                     a file on its way to being renamed; means nothing
const (
	formatFile      = "TIDINGS-BACKUP"
	formatLine      = "tidings backup 1"
	chunksDir       = "chunks"
	backupsDir      = "backups"
	manifestSuffix  = ".json"
	temporarySuffix = ".new"

	// ChunkBytes is how much of a file one chunk holds; the last of a file holds what is left. A segment that has grown
	// shares all its full chunks with what it was.
	ChunkBytes = 4 << 20
)

var (
	// ErrNone says that a directory holds no backup, or not the one that was asked for.
	ErrNone = errors.New("backup: there is no such backup")
	// ErrOtherLog says that a directory of backups has those of another log.
	ErrOtherLog = errors.New("backup: these are backups of another log")
)

// ForeignError refuses a directory that holds something else.
type ForeignError struct{ Names []string } // at most a few

func (e *ForeignError) Error() string {
	return fmt.Sprintf("backup: the directory is not empty and holds no backups: there is %q", e.Names)
}

// FormatError refuses backups of another version.
type FormatError struct{ Found string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("backup: the directory has format %q; this program reads and writes %q", e.Found, formatLine)
}

// DamageError says that a file isn't what was written.
type DamageError struct {
	File   string // in the directory of backups
	Reason string
	Needed []string // files of the log that have a part in it; nil: the whole backup
}

func (e *DamageError) Error() string { return fmt.Sprintf("backup: %s: %s", e.File, e.Reason) }

// Store is a directory of backups. It is safe for one user at a time: see vfs.Lock.
type Store struct {
	fs    vfs.FS
	dirty map[string]bool // directories with entries that are not durable
}

// Open opens a directory of backups. Errors: ErrNone where it is empty, *ForeignError, *FormatError.
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

// Create is Open, and makes an empty directory a directory of backups.
func Create(fsys vfs.FS) (*Store, error) {
	s, err := Open(fsys)
	if !errors.Is(err, ErrNone) {
		return s, err
	}
	if err := writeFile(fsys, formatFile, []byte(formatLine+"\n")); err != nil {
		return nil, err
	}
	return Open(fsys)
}

// Check says why a directory can't be one of backups, before anything is changed in it; nil if it is one, or empty.
func Check(fsys vfs.FS) error {
	if _, err := Open(fsys); !errors.Is(err, ErrNone) {
		return err
	}
	return nil
}

// IsStore tells whether a directory claims to hold backups.
func IsStore(fsys vfs.FS) bool {
	_, err := fsys.Stat(formatFile)
	return err == nil
}

func refuseForeign(fsys vfs.FS) error {
	entries, err := fsys.List(".")
	if err != nil {
		return err
	}
	harmless := []string{"LOCK", "lost+found", formatFile + temporarySuffix}
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

// hash is the SHA-256 of a chunk, in hexadecimal: its name.
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

// has tells whether a chunk is there with its length; its content is looked at by Verify and whenever it is read.
func (s *Store) has(h hash, sizeBytes int64) bool {
	info, err := s.fs.Stat(h.path())
	return err == nil && !info.Dir && info.SizeBytes == sizeBytes
}

// put stores a chunk, unless it is there.
func (s *Store) put(b []byte) (h hash, stored bool, err error) {
	h = hashOf(b)
	if s.has(h, int64(len(b))) {
		return h, false, nil
	}
	dir := path.Dir(h.path())
	if err := s.fs.MkdirAll(dir); err != nil {
		return h, false, err
	}
	if err := writeNew(s.fs, h.path(), b); err != nil {
		return h, false, err
	}
	s.dirty[dir] = true
	return h, true, nil
}

// get reads a chunk and checks it; the error is a *DamageError or one of reading.
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

// settle makes the names of all chunks durable.
func (s *Store) settle() error {
	for dir := range s.dirty {
		if err := s.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	clear(s.dirty)
	return nil
}

// writeNew writes a file under another name, syncs it and renames it.
func writeNew(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name + temporarySuffix)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsys.Rename(name+temporarySuffix, name)
}

// writeFile makes a file appear durably with all its content, or not at all.
func writeFile(fsys vfs.FS, name string, content []byte) error {
	if err := writeNew(fsys, name, content); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

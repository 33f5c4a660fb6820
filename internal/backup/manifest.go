package backup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// A manifest is a file of lines, each of them a JSON object:
//
//	{"version":1,"name":…,"cluster_id":…,"taken_at":…,"last_lsn":…,…}     what it is of
//	{"path":"topics/…","size":…,"modified":…,"chunks":["1f8a…",…]}         one for each file or directory, in order of path
//	{"sha256":"…"}                                                         of all bytes before this line
const manifestVersion = 1

// Manifest describes one backup: its head, and all files of the log in the order of their paths.
type Manifest struct {
	Head
	Files []File
}

// Head identifies a backup and describes the snapshot from which it was taken.
type Head struct {
	Version int `json:"version"`
	// Name is the time at which the backup was taken, in the format nameLayout. Names sort in the order of time.
	Name string `json:"name"`
	engine.Snapshot
}

// File describes one file or directory of the log.
type File struct {
	Path      string `json:"path"`               // slash-separated, relative to the data directory
	SizeBytes int64  `json:"size"`               // 0 for a directory
	Modified  int64  `json:"modified,omitempty"` // time of modification, in nanoseconds since the Unix epoch
	Chunks    []hash `json:"chunks,omitempty"`   // in the order of the file; all chunks except the last have ChunkBytes
	Dir       bool   `json:"dir,omitempty"`
}

// manifestEnd is the last line of a manifest. SHA256 is the hash of all bytes before that line.
type manifestEnd struct {
	SHA256 hash `json:"sha256"`
}

const nameLayout = "20060102T150405.000Z"

// nameFor returns the name of a backup that is taken at a time. taken are the existing names in order. If the clock was
// set back, the name is just after the last of these, so that names stay in the order of time.
func nameFor(at time.Time, taken []string) string {
	name := at.UTC().Format(nameLayout)
	for len(taken) > 0 && name <= taken[len(taken)-1] {
		at = at.Add(time.Millisecond)
		name = at.UTC().Format(nameLayout)
		if last, err := time.Parse(nameLayout, taken[len(taken)-1]); err == nil && at.Before(last) {
			at = last
		}
	}
	return name
}

// encode returns the content of the manifest's file.
func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m.Head); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if err := enc.Encode(f); err != nil {
			return nil, err
		}
	}
	if err := enc.Encode(manifestEnd{hashOf(b.Bytes())}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decodeManifest parses the content of the manifest file with a name. The error is a *DamageError or a *FormatError. A
// path that is none of a snapshot of a data directory counts as damage: nothing else is restored.
func decodeManifest(file string, b []byte) (*Manifest, error) {
	damaged := func(format string, args ...any) (*Manifest, error) {
		return nil, &DamageError{File: file, Reason: fmt.Sprintf(format, args...)}
	}
	body := bytes.TrimSuffix(b, []byte("\n"))
	cut := bytes.LastIndexByte(body, '\n') + 1
	if len(body) == len(b) || cut == 0 {
		return damaged("the manifest is cut")
	}
	var end manifestEnd
	if err := json.Unmarshal(body[cut:], &end); err != nil || end.SHA256 != hashOf(b[:cut]) {
		return damaged("the manifest's checksum does not hold")
	}
	m := &Manifest{}
	for i, line := range bytes.Split(b[:cut-1], []byte("\n")) {
		if i == 0 {
			if err := json.Unmarshal(line, &m.Head); err != nil {
				return damaged("the manifest begins with %v", err)
			}
			if m.Version != manifestVersion {
				return nil, &FormatError{Found: fmt.Sprintf("manifest %d", m.Version)}
			}
			continue
		}
		var f File
		if err := json.Unmarshal(line, &f); err != nil {
			return damaged("line %d: %v", i+1, err)
		}
		chunks := (f.SizeBytes + ChunkBytes - 1) / ChunkBytes
		if !datadir.MayBeInSnapshot(f.Path) || f.SizeBytes < 0 || int64(len(f.Chunks)) != chunks ||
			slices.ContainsFunc(f.Chunks, func(h hash) bool { return !h.valid() }) {
			return damaged("line %d: no file of a log", i+1)
		}
		m.Files = append(m.Files, f)
	}
	return m, nil
}

func manifestPath(name string) string { return path.Join(backupsDir, name+manifestSuffix) }

// Names returns the names of all backups, oldest first. The error is one of I/O.
func (s *Store) Names() ([]string, error) {
	infos, err := s.fs.List(backupsDir)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range infos {
		if name, ok := strings.CutSuffix(i.Name, manifestSuffix); ok && !i.Dir {
			if _, err := time.Parse(nameLayout, name); err == nil {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, nil
}

// Load reads the manifest of the backup with a name, or of the newest backup if name is "". The error is ErrNone, a
// *DamageError, a *FormatError, or one of I/O.
func (s *Store) Load(name string) (*Manifest, error) {
	if name == "" {
		names, err := s.Names()
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, ErrNone
		}
		name = names[len(names)-1]
	}
	if _, err := time.Parse(nameLayout, name); err != nil {
		return nil, fmt.Errorf("%w: %q", ErrNone, name)
	}
	b, err := vfs.ReadFile(s.fs, manifestPath(name))
	if isMissing(err) {
		return nil, fmt.Errorf("%w: %s", ErrNone, name)
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(manifestPath(name), b)
	if err == nil && m.Name != name {
		return nil, &DamageError{File: manifestPath(name), Reason: "it is the manifest of " + m.Name}
	}
	return m, err
}

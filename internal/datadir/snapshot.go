package datadir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
)

// SnapshotContent is the name of the file in a snapshot that lists the other files: one SnapshotFile in JSON per line,
// in the order of paths.
const SnapshotContent = "CONTENT"

// SnapshotFile is one file of a snapshot, or the directory of a partition.
type SnapshotFile struct {
	Path string `json:"path"` // slash-separated, relative to the snapshot
	// SizeBytes is the number of bytes of the file that belong to the snapshot. Bytes after them were appended later.
	SizeBytes int64 `json:"size"`
	Dir       bool  `json:"dir,omitempty"`
}

// EncodeSnapshotContent returns the content of the file SnapshotContent for a list of files.
func EncodeSnapshotContent(files []SnapshotFile) ([]byte, error) {
	var b []byte
	for _, f := range files {
		line, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		b = append(append(b, line...), '\n')
	}
	return b, nil
}

// DecodeSnapshotContent parses the content of the file SnapshotContent. A path that leads out of the snapshot is an
// error.
func DecodeSnapshotContent(b []byte) ([]SnapshotFile, error) {
	var files []SnapshotFile
	dec := json.NewDecoder(bytes.NewReader(b))
	for dec.More() {
		var f SnapshotFile
		if err := dec.Decode(&f); err != nil {
			return nil, fmt.Errorf("%s: %w", SnapshotContent, err)
		}
		if !fs.ValidPath(f.Path) || f.SizeBytes < 0 || f.Dir && f.SizeBytes > 0 {
			return nil, fmt.Errorf("%s names %q", SnapshotContent, f.Path)
		}
		files = append(files, f)
	}
	return files, nil
}

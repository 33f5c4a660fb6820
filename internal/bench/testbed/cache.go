package testbed

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// DropFromCache makes the files of a directory durable and drops them from the page cache. No broker may be running
// on the directory. It fails on systems other than Linux.
func DropFromCache(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return dropFile(name)
	})
	if err != nil {
		return fmt.Errorf("drop the files of %s from the page cache: %w", dir, err)
	}
	return nil
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"tidings.dev/internal/vfs"
)

// ReadLimit measures how fast the files below dir whose names match a pattern can be read, bypassing the page cache,
// for the duration d. It reads the files one after the other, readBytes at a time, and starts again after the last
// one. The files should be those of the measured broker, which may be running: a virtual disk is cached by its host,
// and other files may be cached differently. Records is the number of reads. ReadLimit fails if no file matches.
func ReadLimit(ctx context.Context, dir, pattern string, readBytes int, d time.Duration) (m Measured, err error) {
	fs, err := vfs.Disk(dir)
	if err != nil {
		return m, err
	}
	if c, ok := fs.(io.Closer); ok {
		defer c.Close()
	}
	names, err := matching(fs, ".", pattern)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no file below %s matches %s", dir, pattern)
	}
	if err != nil {
		return m, err
	}
	var f vfs.File
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	next, at := 0, int64(0)
	return repeat(ctx, readBytes, d, func() (n int, err error) {
		if f == nil {
			if f, err = fs.OpenRead(names[next]); err != nil {
				return 0, err
			}
			next, at = (next+1)%len(names), 0
		}
		b, err := f.ReadUncached(readBytes, at)
		at += int64(len(b))
		if err == io.EOF {
			err = f.Close()
			f = nil
		}
		return len(b), err
	})
}

// matching returns the paths of all files below dir whose names match a pattern.
func matching(fs vfs.FS, dir, pattern string) (names []string, err error) {
	infos, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		name := path.Join(dir, i.Name)
		if i.Dir {
			below, err := matching(fs, name, pattern)
			if err != nil {
				return nil, err
			}
			names = append(names, below...)
		} else if ok, _ := path.Match(pattern, i.Name); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

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

// ReadLimit is how fast a disk gives the files below dir whose names match a pattern, one after the other and over and
// over, readBytes at a time and past the page cache. They are those of a broker, which may be running: a virtual disk's
// host has a cache of its own, and other files would find it in another state. Records counts the reads.
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
		b, err := f.ReadPast(readBytes, at)
		at += int64(len(b))
		if err == io.EOF {
			err = f.Close()
			f = nil
		}
		return len(b), err
	})
}

// matching lists the files below dir whose names match a pattern, in order.
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

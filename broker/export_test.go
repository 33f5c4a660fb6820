package broker

import "tidings.dev/internal/vfs"

// On puts the broker's files on fs, in place of Dir and Memory.
func (c Config) On(fs vfs.FS) Config {
	c.fs = fs
	return c
}

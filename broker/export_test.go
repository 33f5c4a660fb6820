package broker

import "tidings.dev/internal/vfs"

// On returns a copy of c with which the broker keeps its files on fs, in place of Dir and Memory.
func (c Config) On(fs vfs.FS) Config {
	c.fs = fs
	return c
}

package engine

import (
	mathrand "math/rand"

	"tidings.dev/internal/vfs"
)

// crashed is a disk as a power cut leaves it now.
func crashed(disk *vfs.Mem) *vfs.Mem { return disk.CrashClone(mathrand.New(mathrand.NewSource(1))) }

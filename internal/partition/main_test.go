package partition

import (
	"flag"
	"os"
	"testing"

	"tidings.dev/internal/vfs"
)

// rapid prints the seed that replays a failure; files with the same say nothing more.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Create creates the directory dir and an empty log in it.
func Create(fs vfs.FS, dir string, c Config) (*Log, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	return Open(fs, dir, c, State{})
}

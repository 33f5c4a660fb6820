package partition

import (
	"flag"
	"os"
	"testing"
)

// rapid prints the seed that replays a failure; files with the same say nothing more.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

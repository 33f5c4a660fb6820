package journal

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

// names lists the files of a suffix.
func names(t *testing.T, fs vfs.FS, suffix string) (found []string) {
	t.Helper()
	infos, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if strings.HasSuffix(i.Name, suffix) {
			found = append(found, i.Name)
		}
	}
	return found
}

func hasNext(j *Journal) bool {
	j.files.mu.Lock()
	defer j.files.mu.Unlock()
	return j.files.next != nil
}

// The next file is begun while there is room in the one before, so that going on in it changes no name; a clean stop
// leaves no file that was merely begun.
func TestNextFileIsBegunAhead(t *testing.T) {
	var sealed atomic.Bool
	disk := vfs.NewMem()
	fs := vfs.NewFaulty(disk, func(o vfs.Op) error {
		if sealed.Load() && (o.Kind == vfs.OpRename || o.Kind == vfs.OpSyncDir || o.Kind == vfs.OpCreate) {
			t.Errorf("a commit waits for %v", o)
		}
		return nil
	})
	const fileBytes = 16 << 10
	j, _, _ := mustOpen(t, fs, 0, Options{FileBytes: fileBytes})
	if got := names(t, fs, journalSuffix); len(got) != 1 {
		t.Fatalf("after Open: %v", got)
	}
	untilNext := func() {
		for !hasNext(j) {
			appendWait(t, j, strings.Repeat("a", 1000))
			time.Sleep(time.Millisecond) // begun in the background
		}
	}
	untilNext()
	if got := names(t, fs, markerSuffix); len(got) != 2 {
		t.Errorf("marked: %v, want the file in use and the next", got)
	}
	sealed.Store(true)
	for before := j.current.generation; j.current.generation == before; {
		appendWait(t, j, strings.Repeat("b", 1000))
	}
	sealed.Store(false)

	untilNext()
	mustClose(t, j)
	used := names(t, fs, journalSuffix)
	if got := names(t, fs, markerSuffix); len(got) == 0 || got[len(got)-1][:16] != used[len(used)-1][:16] || len(names(t, fs, spareSuffix)) == 0 {
		t.Errorf("after Close: %v of %v are marked", got, used)
	}
	in, err := Inspect(fs, dir, 0)
	if err != nil || len(in.Damage) > 0 || in.Files[len(in.Files)-1].Frames == 0 {
		t.Errorf("after Close: %+v, %v", in, err)
	}
}

package journal

import (
	"slices"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

// hints are those of the writes to some files.
type hints struct {
	mu   sync.Mutex
	list []vfs.Hint
}

type hintedFile struct {
	vfs.File
	hints *hints
}

func (f *hintedFile) WriteParts(parts [][]byte, off int64, hint vfs.Hint) (int, error) {
	f.hints.mu.Lock()
	f.hints.list = append(f.hints.list, hint)
	f.hints.mu.Unlock()
	return f.File.WriteParts(parts, off, hint)
}

func (h *hints) take() []vfs.Hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.list
	h.list = nil
	return taken
}

// Short frames that are synced at once may pass by the page cache, from the second in a row on. Large ones and those that
// wait for another's sync go to it.
func TestShortFramesMayPassByThePageCache(t *testing.T) {
	var hints hints
	j, _, _ := mustOpen(t, vfs.Wrap(vfs.NewMem(), func(f vfs.File) vfs.File { return &hintedFile{f, &hints} }), 0, Options{})
	hints.take()
	const short, large = 100, shortFrameBytes
	commit := func(sizeBytes int, within time.Duration) {
		t.Helper()
		done := make(chan error, 1)
		e := Entry{Kind: 1, Payload: [][]byte{make([]byte, sizeBytes)}, SyncWithin: within, Done: func(_ LSN, err error) { done <- err }}
		if _, err := j.Append(e); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{large, short, short, short, large, short, short} {
		commit(size, 0)
	}
	commit(short, NoDeadline)
	commit(short, 0)
	commit(short, 0)
	want := []vfs.Hint{vfs.NoHint, vfs.NoHint, vfs.WillSync, vfs.WillSync, vfs.NoHint, vfs.NoHint, vfs.WillSync, vfs.NoHint, vfs.NoHint, vfs.WillSync}
	if got := hints.take(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	mustClose(t, j)
}

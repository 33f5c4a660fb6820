package journal

import (
	"slices"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

// hintsFS notes what was said to come after each write of a frame.
type hintsFS struct {
	vfs.FS
	mu    sync.Mutex
	hints []vfs.Next
}

type hintsFile struct {
	vfs.File
	fs *hintsFS
}

func (h *hintsFS) noting(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &hintsFile{f, h}, nil
}

func (h *hintsFS) Create(name string) (vfs.File, error) { return h.noting(h.FS.Create(name)) }
func (h *hintsFS) Open(name string) (vfs.File, error)   { return h.noting(h.FS.Open(name)) }

func (f *hintsFile) WriteParts(parts [][]byte, off int64, next vfs.Next) (int, error) {
	f.fs.mu.Lock()
	f.fs.hints = append(f.fs.hints, next)
	f.fs.mu.Unlock()
	return f.File.WriteParts(parts, off, next)
}

func (h *hintsFS) taken() []vfs.Next {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.hints
	h.hints = nil
	return taken
}

// Short frames that are synced at once may pass by the page cache, from the second in a row on. Large ones and those that
// wait for another's sync go to it.
func TestShortFramesMayPassByThePageCache(t *testing.T) {
	fs := &hintsFS{FS: vfs.NewMem()}
	j, _, _ := mustOpen(t, fs, 0, Options{})
	fs.taken()
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
	want := []vfs.Next{vfs.Anything, vfs.Anything, vfs.SyncNow, vfs.SyncNow, vfs.Anything, vfs.Anything, vfs.SyncNow, vfs.Anything, vfs.Anything, vfs.SyncNow}
	if got := fs.taken(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	mustClose(t, j)
}

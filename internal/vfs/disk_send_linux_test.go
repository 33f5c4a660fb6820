package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connect returns the two ends of a connection, closed with the test.
func connect(t *testing.T) (from, to *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err := l.Accept()
	must(t, err)
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// onDisk returns a synced file of so many random bytes on a real disk.
func onDisk(t *testing.T, sizeBytes int) (*diskFile, []byte) {
	t.Helper()
	disk, err := Disk(t.TempDir())
	must(t, err)
	t.Cleanup(func() { disk.(io.Closer).Close() })
	content := make([]byte, sizeBytes)
	rand.NewChaCha8([32]byte{3}).Read(content)
	f, err := disk.Create("f")
	must(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteAt(content, 0)
	must(t, err, f.Sync())
	return f.(*diskFile), content
}

func TestSendTo(t *testing.T) {
	f, content := onDisk(t, 3<<20)
	for _, r := range [][2]int{{0, 3 << 20}, {1, 1}, {4095, 8194}, {1<<20 + 13, 1 << 20}} {
		from, to := connect(t)
		read := make(chan []byte)
		go func() {
			got, _ := io.ReadAll(to)
			read <- got
		}()
		n, err := f.SendTo(from, r[1], int64(r[0]))
		must(t, err, from.CloseWrite())
		if got := <-read; n != r[1] || !bytes.Equal(got, content[r[0]:r[0]+r[1]]) {
			t.Errorf("[%d, %d): %d bytes sent, %d received", r[0], r[0]+r[1], n, len(got))
		}
	}

	// Case: the file ends before.
	from, _ := connect(t)
	if n, err := f.SendTo(from, 100, 3<<20-40); n != 40 || err != io.ErrUnexpectedEOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
	// Case: the receiver reads nothing, until the deadline.
	must(t, from.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	for sent := 0; ; {
		n, err := f.SendTo(from, 3<<20, 0)
		if sent += n; errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || sent > 1<<30 {
			t.Fatalf("%d bytes to nobody, %v", sent, err)
		}
	}
	// Case: a closed file.
	must(t, f.Close())
	if _, err := f.SendTo(from, 1, 0); err == nil {
		t.Error("a closed file was sent")
	}
}

func TestCached(t *testing.T) {
	f, content := onDisk(t, 1<<20)
	if err := control(f.f, func(fd int) error { return allCached(fd, len(content), 0) }); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip("this kernel does not say what the page cache has:", err)
	}
	if !f.Cached(len(content), 0) || !f.Cached(1, 5000) {
		t.Error("what was just written isn't there")
	}
	if f.Cached(len(content)+1, 0) {
		t.Error("there is more than the file has")
	}
	var s unix.Statfs_t
	must(t, control(f.f, func(fd int) error { return unix.Fstatfs(fd, &s) }))
	if s.Type == unix.TMPFS_MAGIC {
		t.Skip("a tmpfs is its own page cache")
	}
	must(t, control(f.f, func(fd int) error {
		return errors.Join(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED), unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM))
	}))
	if f.Cached(1, 0) {
		t.Error("what was dropped is there")
	}
	page := int64(pageBytes)
	_, err := f.ReadAt(make([]byte, 1), 2*page) // reads that one page
	must(t, err)
	for _, r := range []struct {
		off, end int64
		want     bool
	}{{2 * page, 3 * page, true}, {2*page + 7, 2*page + 8, true}, {2*page - 1, 2*page + 1, false}, {3*page - 1, 3*page + 1, false}} {
		if got := f.Cached(int(r.end-r.off), r.off); got != r.want {
			t.Errorf("[%d, %d) with only page 2: %v", r.off, r.end, got)
		}
	}
}

package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"testing"
)

// Case: a file of several reads is copied, in part and whole; a power cut keeps the content that was synced; a file that is
// too short is an error.
func TestCopyFile(t *testing.T) {
	m := NewMem()
	want := make([]byte, 2*copyBytes+5)
	rand.New(rand.NewSource(1)).Read(want)
	write(t, m, "from", string(want))
	for _, size := range []int{0, 1, copyBytes, len(want)} {
		must(t, CopyFile(m, "from", "to", int64(size), true), m.SyncDir("."))
		if got := content(t, m.CrashClone(rand.New(rand.NewSource(2))), "to"); !bytes.Equal([]byte(got), want[:size]) {
			t.Errorf("%d bytes after the copy of %d", len(got), size)
		}
	}
	if err := CopyFile(m, "from", "to", int64(len(want))+1, false); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("more than the file has: %v", err)
	}
}

package vfs

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// A workload is run with each of its operations failing once: the operation fails with that error, is not performed,
// and all others pass.
func TestFaultyEveryOperation(t *testing.T) {
	workload := func(f FS) []error {
		var errs []error
		note := func(err error) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		note(f.MkdirAll("d"))
		note(f.Mkdir("d/e"))
		file, err := f.Create("d/a")
		note(err)
		if err == nil {
			_, err = file.WriteAt([]byte("content"), 0)
			note(err)
			note(file.Allocate(100))
			note(file.Truncate(50))
			note(file.Sync())
			_, err = file.Size()
			note(err)
			_, err = file.ReadAt(make([]byte, 5), 0)
			note(err)
			note(file.Close())
		}
		note(f.SyncDir("d"))
		_, err = f.List("d")
		note(err)
		_, err = f.Stat("d")
		note(err)
		note(f.RemoveAll("d"))
		return errs
	}
	clean := NewFaulty(NewMem(), nil)
	if errs := workload(clean); len(errs) != 0 {
		t.Fatal(errs)
	}
	for nth := int64(1); nth <= clean.Count(); nth++ {
		errs := workload(NewFaulty(NewMem(), FailNth(nth, syscall.EIO)))
		if len(errs) == 0 {
			t.Errorf("operation %d did not fail", nth)
			continue
		}
		wantError(t, "the failed operation", errs[0], syscall.EIO)
	}
}

// A short write leaves its first part and gives its cause.
func TestFaultyShortWrite(t *testing.T) {
	f := NewFaulty(NewMem(), func(o Op) error {
		if o.Kind == OpWriteAt && o.Bytes == 10 {
			return &ShortWrite{WrittenBytes: 4, Cause: syscall.ENOSPC}
		}
		return nil
	})
	file := create(t, f, "a", "")
	n, err := file.WriteAt([]byte("0123456789"), 0)
	wantError(t, "write", err, syscall.ENOSPC)
	if n != 4 || whole(t, file) != "0123" {
		t.Errorf("%d bytes written, %q left", n, whole(t, file))
	}
}

// The fault function gets each operation's kind, name, number and length.
func TestFaultyOp(t *testing.T) {
	var seen []string
	f := NewFaulty(NewMem(), func(o Op) error { seen = append(seen, o.String()); return nil })
	write(t, f, "a", "x")
	must(t, f.Rename("a", "b"), f.SyncDir("."))
	want := "1 create a, 2 writeat a, 3 sync a, 4 rename a, 5 syncdir ."
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for k := OpCreate; k < opKinds; k++ {
		if opNames[k] == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
	if !errors.Is(&ShortWrite{Cause: syscall.EIO}, syscall.EIO) {
		t.Error("a short write hides its cause")
	}
}

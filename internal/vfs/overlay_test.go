package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
)

// Case: a tree with content is looked at through an overlay and changed in every way. The overlay shows the changes; the
// tree below is read and never written to.
func TestOverlayLeavesTheTreeAsItIs(t *testing.T) {
	below := NewMem()
	must(t, below.MkdirAll("d/e"))
	write(t, below, "a", "alpha")
	write(t, below, "d/b", "beta")
	write(t, below, "d/e/c", "gamma")
	o := NewOverlay(NewFaulty(below, func(op Op) error {
		switch op.Kind {
		case OpOpenRead, OpList, OpReadAt, OpSize, OpStat:
			return nil
		}
		return errors.New("the tree below was to be changed")
	}))
	if names(t, o, "d") != "b e" || content(t, o, "d/e/c") != "gamma" {
		t.Errorf("it looks like %s", names(t, o, "d"))
	}
	f, err := o.Open("a")
	must(t, err)
	_, err = f.WriteAt([]byte("X"), 1)
	must(t, err, f.Truncate(3), f.Sync(), f.Close())
	must(t, o.Rename("d", "moved"), o.Remove("moved/b"), o.Link("moved/e/c", "linked"), o.MkdirAll("new"))
	write(t, o, "new/x", "xi")
	if content(t, o, "a") != "aXp" || names(t, o, ".") != "a linked moved new" || names(t, o, "moved") != "e" || content(t, o, "linked") != "gamma" {
		t.Errorf("after the changes: %s, %q", names(t, o, "."), content(t, o, "a"))
	}
	write(t, o, "linked", "one content")
	if content(t, o, "moved/e/c") != "one content" {
		t.Error("two names of one file have two contents")
	}
	if names(t, below, ".") != "a d" || content(t, below, "a") != "alpha" || content(t, below, "d/e/c") != "gamma" {
		t.Error("the tree below was changed")
	}
}

// Case: a large file below, written to here and there, against a slice of bytes.
func TestOverlayRandom(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewSource(seed))
	model := make([]byte, 300_000)
	rng.Read(model)
	below := NewMem()
	write(t, below, "a", string(model))
	o := NewOverlay(below)
	f, err := o.Open("a")
	must(t, err)
	defer f.Close()
	for step := range 300 {
		at, n := rng.Intn(len(model)+1), rng.Intn(40_000)
		switch rng.Intn(8) {
		case 0:
			must(t, f.Truncate(int64(at)))
			model = model[:at:at]
		case 1:
			must(t, f.Truncate(int64(at+n)))
			if at+n > len(model) {
				model = append(model, make([]byte, at+n-len(model))...)
			}
			model = model[: at+n : at+n]
		case 2, 3:
			b := make([]byte, n)
			rng.Read(b)
			_, err := f.WriteAt(b, int64(at))
			must(t, err)
			if n > 0 && at+n > len(model) {
				model = append(model, make([]byte, at+n-len(model))...)
			}
			copy(model[at:], b)
		default:
			b := make([]byte, n)
			got, err := f.ReadAt(b, int64(at))
			if err != nil && err != io.EOF || string(b[:got]) != string(model[at:min(len(model), at+n)]) {
				t.Fatalf("step %d: read %d at %d of %d: %v (seed %d)", step, got, at, len(model), err, seed)
			}
		}
	}
	if whole(t, f) != string(model) {
		t.Errorf("wrong at the end (seed %d)", seed)
	}
}

// Case: a link on a real disk is one file under two names, and refuses to replace another.
func TestLink(t *testing.T) {
	disk, err := Disk(t.TempDir())
	must(t, err)
	defer disk.(io.Closer).Close()
	for name, f := range map[string]FS{"Disk": disk, "Overlay": NewOverlay(NewMem())} {
		l := f.(Linker)
		write(t, f, "a", "content")
		must(t, f.MkdirAll("d"), l.Link("a", "d/b"), f.Remove("a"))
		if content(t, f, "d/b") != "content" {
			t.Errorf("%s: the second name has %q", name, content(t, f, "d/b"))
		}
		write(t, f, "c", "")
		wantError(t, name+": link over a file", l.Link("d/b", "c"), fs.ErrExist)
		wantError(t, name+": link what is not there", l.Link("none", "x"), fs.ErrNotExist)
		wantError(t, name+": link out of the tree", l.Link("d/b", "../x"), fs.ErrInvalid)
	}
}

// Case: a shared lock keeps owners out, lets other shared locks in and writes nothing. Without a lock file, Release reports
// whether an owner has come.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	w, err := LockShared(dir)
	must(t, err)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("watching left %v", left)
	}
	must(t, w.Release())
	w, err = LockShared(dir)
	must(t, err)
	l, err := Lock(dir)
	must(t, err)
	if w.Release() == nil {
		t.Error("an owner came, and nobody was told")
	}
	_, err = LockShared(dir)
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != os.Getpid() {
		t.Errorf("watching what is owned: %v", err)
	}
	must(t, l.Release())
	before, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	must(t, err)
	w, err = LockShared(dir)
	must(t, err)
	also, err := LockShared(dir)
	must(t, err)
	if _, err := Lock(dir); err == nil {
		t.Error("owned while it is watched")
	}
	must(t, w.Release(), also.Release())
	if after, err := os.ReadFile(filepath.Join(dir, "LOCK")); err != nil || string(after) != string(before) {
		t.Errorf("the lock file was written to: %q", after)
	}
	l, err = Lock(dir)
	must(t, err, l.Release())
}

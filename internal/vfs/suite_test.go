package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Every implementation passes the same suite.
func TestFS(t *testing.T) {
	implementations := map[string]func(t *testing.T) FS{
		"Disk": func(t *testing.T) FS {
			d, err := Disk(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.(io.Closer).Close() })
			return d
		},
		"Mem":    func(t *testing.T) FS { return NewMem() },
		"Faulty": func(t *testing.T) FS { return NewFaulty(NewMem(), nil) },
		"Clone":  func(t *testing.T) FS { return NewMem().CrashClone(rand.New(rand.NewSource(1))) },
		"Overlay": func(t *testing.T) FS {
			return NewOverlay(NewMem())
		},
		"Wrap": func(t *testing.T) FS { return Wrap(NewMem(), func(f File) File { return f }) },
	}
	suite := map[string]func(*testing.T, FS){
		"files": testFiles, "ranges": testRanges, "truncate": testTruncate, "allocate": testAllocate,
		"write out": testWriteOut, "write parts": testWriteParts, "read past": testReadPast, "read only": testReadOnly, "names": testNames, "directories": testDirectories, "rename": testRename,
		"removed while open": testRemovedWhileOpen, "closed": testClosed, "concurrent": testConcurrent,
		"random": testRandom,
	}
	for name, implementation := range implementations {
		for what, test := range suite {
			t.Run(name+"/"+what, func(t *testing.T) { test(t, implementation(t)) })
		}
	}
}

// must fails the test at once if one of errs is not nil.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err matches want and is an *fs.PathError.
func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	} else if _, ok := errors.AsType[*fs.PathError](err); !ok {
		t.Errorf("%s: %v is a %T, want a *fs.PathError", what, err, err)
	}
}

func create(t testing.TB, f FS, name, content string) File {
	t.Helper()
	file, err := f.Create(name)
	must(t, err)
	_, err = file.WriteAt([]byte(content), 0)
	must(t, err)
	return file
}

func write(t testing.TB, f FS, name, content string) {
	t.Helper()
	file := create(t, f, name, content)
	must(t, file.Sync(), file.Close())
}

func content(t testing.TB, f FS, name string) string {
	t.Helper()
	file, err := f.OpenRead(name)
	must(t, err)
	defer file.Close()
	return whole(t, file)
}

func whole(t testing.TB, file File) string {
	t.Helper()
	size, err := file.Size()
	must(t, err)
	b := make([]byte, size)
	n, err := file.ReadAt(b, 0)
	if n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d bytes: %v", n, size, err)
	}
	return string(b)
}

func names(t testing.TB, f FS, dir string) string {
	t.Helper()
	infos, err := f.List(dir)
	must(t, err)
	var s []string
	for _, i := range infos {
		s = append(s, i.Name)
	}
	return strings.Join(s, " ")
}

func testFiles(t *testing.T, f FS) {
	_, err := f.Open("a")
	wantError(t, "open what is not there", err, fs.ErrNotExist)
	_, err = f.OpenRead("a")
	wantError(t, "open what is not there", err, fs.ErrNotExist)
	_, err = f.Stat("a")
	wantError(t, "stat what is not there", err, fs.ErrNotExist)
	wantError(t, "remove what is not there", f.Remove("a"), fs.ErrNotExist)
	_, err = f.Create("dir/a")
	wantError(t, "create in no directory", err, fs.ErrNotExist)

	write(t, f, "a", "hello")
	write(t, f, "b", "other")
	if got := content(t, f, "a"); got != "hello" {
		t.Errorf("content %q", got)
	}
	info, err := f.Stat("a")
	must(t, err)
	if info.Name != "a" || info.SizeBytes != 5 || info.Dir || info.Modified.IsZero() {
		t.Errorf("info %+v", info)
	}
	write(t, f, "a", "new")
	if got := content(t, f, "a"); got != "new" {
		t.Errorf("created again, it has %q", got)
	}
	must(t, f.SyncDir("."), f.Remove("a"), f.SyncDir("."))
	if got := names(t, f, "."); got != "b" {
		t.Errorf("left: %s", got)
	}
	wantError(t, "sync a file as a directory", f.SyncDir("b"), syscall.ENOTDIR)
	wantError(t, "sync a directory that is not there", f.SyncDir("c"), fs.ErrNotExist)
	_, err = f.Create("b/c")
	wantError(t, "create in a file", err, syscall.ENOTDIR)
}

func testRanges(t *testing.T, f FS) {
	file := create(t, f, "a", "")
	defer file.Close()
	write := func(s string, at int64) {
		t.Helper()
		if n, err := file.WriteAt([]byte(s), at); n != len(s) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(s), err)
		}
	}
	write("tail", 10000)
	write("head", 0)
	write("middle", 4093) // across a page
	want := make([]byte, 10004)
	copy(want, "head")
	copy(want[4093:], "middle")
	copy(want[10000:], "tail")
	if whole(t, file) != string(want) {
		t.Error("written ranges and the holes between are wrong")
	}
	b := make([]byte, 10)
	if n, err := file.ReadAt(b, 9999); n != 5 || err != io.EOF || string(b[:5]) != "\x00tail" {
		t.Errorf("read across the end: %d %v %q", n, err, b)
	}
	if n, err := file.ReadAt(b, 10004); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d %v", n, err)
	}
	if n, err := file.ReadAt(b, 1<<30); n != 0 || err != io.EOF {
		t.Errorf("read beyond the end: %d %v", n, err)
	}
	if n, err := file.ReadAt(b[:4], 10000); n != 4 || err != nil && err != io.EOF {
		t.Errorf("read up to the end: %d %v", n, err)
	}
	if n, err := file.WriteAt(nil, 20000); n != 0 || err != nil {
		t.Errorf("write of nothing: %d %v", n, err)
	}
	if size, err := file.Size(); size != 10004 || err != nil {
		t.Errorf("size after a write of nothing: %d %v", size, err)
	}
	if _, err := file.ReadAt(b, -1); err == nil {
		t.Error("a negative position was read")
	}
	if _, err := file.WriteAt(b, -1); err == nil {
		t.Error("a negative position was written")
	}
}

func testTruncate(t *testing.T, f FS) {
	text := strings.Repeat("0123456789", 1000)
	file := create(t, f, "a", text)
	defer file.Close()
	must(t, file.Sync(), file.Truncate(4500))
	if whole(t, file) != text[:4500] {
		t.Error("cut wrongly")
	}
	// Case: what was cut is zeros when the file is extended.
	must(t, file.Truncate(9000), file.Sync())
	if whole(t, file) != text[:4500]+strings.Repeat("\x00", 4500) {
		t.Error("extended by something else than zeros")
	}
	must(t, file.Truncate(0))
	if whole(t, file) != "" {
		t.Error("not emptied")
	}
	if err := file.Truncate(-1); err == nil {
		t.Error("a negative length was taken")
	}
}

func testAllocate(t *testing.T, f FS) {
	file := create(t, f, "a", "content")
	defer file.Close()
	must(t, file.Allocate(1<<20), file.Sync())
	if got := whole(t, file); len(got) != 1<<20 || got[:7] != "content" || strings.Trim(got[7:], "\x00") != "" {
		t.Errorf("allocated %d bytes, %q…", len(got), got[:10])
	}
	must(t, file.Allocate(10))
	if size, err := file.Size(); size != 1<<20 || err != nil {
		t.Errorf("allocating less made it %d, %v", size, err)
	}
}

// What is written in parts reads as if it had been written joined: small and large, aligned and not, past the page cache
// and not, over old content and behind it.
func testWriteParts(t *testing.T, f FS) {
	rng := rand.New(rand.NewSource(3))
	want := make([]byte, 0, 8<<20)
	file := create(t, f, "a", "")
	defer file.Close()
	writeParts := func(off int64, hint Hint, sizes ...int) {
		t.Helper()
		parts, size := make([][]byte, len(sizes)), 0
		for i, n := range sizes {
			parts[i] = make([]byte, n)
			for k := range parts[i] {
				parts[i][k] = byte(rng.Uint32())
			}
			size += n
		}
		if n, err := file.WriteParts(parts, off, hint); n != size || err != nil {
			t.Fatalf("wrote %d of %d bytes at %d: %v", n, size, off, err)
		}
		joined := slices.Concat(parts...)
		want = append(want, make([]byte, max(0, int(off)+size-len(want)))...)
		copy(want[off:], joined)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(io.NewSectionReader(file, 0, int64(len(want))), got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %v at %d, hint %d: %v, or other bytes", sizes, off, hint, err)
		}
	}
	for _, hint := range []Hint{NoHint, WontRead, WillSync} {
		writeParts(0, hint)
		writeParts(0, hint, 1)
		writeParts(1, hint, 0, 3, 0, 100_000)
		writeParts(100_004, hint, 1_000_000, 61, 1_000_000, 4096, 300_000)
		writeParts(4096, hint, 1<<20, 1<<20)
		writeParts(2_404_221, hint, 3<<20+17)
		writeParts(int64(len(want))+5000, hint, 700_001)
		writeParts(12_345, hint, slices.Repeat([]int{999}, 1100)...)
		// Short ones, among others in the same pages.
		writeParts(8192, hint, 512)
		writeParts(8704, hint, 48, 1000, 488)
		writeParts(8200, hint, 1024)
		writeParts(10_240, hint, 64<<10)
		writeParts(10_752, NoHint, 700)
		writeParts(11_264, hint, 512, 512)
		writeParts(512, hint)
	}
	if size, err := file.Size(); size != int64(len(want)) || err != nil {
		t.Errorf("it has %d bytes, not %d: %v", size, len(want), err)
	}
	must(t, file.Sync())
	if _, err := file.WriteParts([][]byte{{1}}, -1, NoHint); err == nil {
		t.Error("a negative position was taken")
	}
}

// ReadUncached returns what ReadAt reads: from any place, to the end of the file and beyond, whether the page cache has all
// of it, some or none.
func testReadPast(t *testing.T, f FS) {
	rng := rand.New(rand.NewSource(4))
	want := make([]byte, 5<<20+4321)
	rng.Read(want)
	file := create(t, f, "a", "")
	_, err := file.WriteParts([][]byte{want}, 0, WontRead)
	must(t, err)
	for i := range 60 {
		if i%20 == 10 { // some of it is dirty in the cache
			at := rng.Intn(len(want) - 5000)
			rng.Read(want[at : at+5000])
			_, err := file.WriteAt(want[at:at+5000], int64(at))
			must(t, err)
		}
		off, size := rng.Intn(len(want)), rng.Intn(4<<20)
		switch i {
		case 0:
			off, size = 0, len(want)
		case 1:
			off, size = 4096, 1<<20
		case 2:
			off, size = len(want)-300<<10, 300<<10
		case 3:
			off, size = len(want), 1<<20
		case 4:
			off, size = len(want)+10_000, 1<<20
		case 5:
			off, size = 7, 0
		}
		got, err := file.ReadUncached(size, int64(off))
		end := min(off+size, len(want))
		if short := off+size > len(want); short != (err == io.EOF) || err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: %v", size, off, err)
		}
		if !bytes.Equal(got, want[min(off, end):end]) {
			t.Fatalf("%d bytes at %d: others came", size, off)
		}
	}
	if _, err := file.ReadUncached(1<<20, -1); err == nil {
		t.Error("a negative position was taken")
	}
	must(t, file.Sync(), file.Close())
	file, err = f.OpenRead("a")
	must(t, err)
	defer file.Close()
	if got, err := file.ReadUncached(len(want)-1, 1); err != nil || !bytes.Equal(got, want[1:]) {
		t.Errorf("from a file opened to be read: %v, or other bytes", err)
	}
}

// WriteOut of any range changes nothing that is read.
func testWriteOut(t *testing.T, f FS) {
	text := strings.Repeat("0123456789", 10000)
	file := create(t, f, "a", text)
	defer file.Close()
	must(t, file.WriteOut(0, 50000, false), file.WriteOut(0, 50000, true), file.WriteOut(4095, 2, true),
		file.WriteOut(50000, 1<<30, true), file.WriteOut(1<<30, 1, true), file.WriteOut(0, 0, true))
	if err := file.WriteOut(-1, 1, false); err == nil {
		t.Error("a negative position was taken")
	}
	if err := file.Sync(); err != nil || whole(t, file) != text {
		t.Errorf("synced after it was written out: %v", err)
	}
}

func testReadOnly(t *testing.T, f FS) {
	write(t, f, "a", "content")
	file, err := f.OpenRead("a")
	must(t, err)
	defer file.Close()
	_, err = file.WriteAt([]byte("x"), 0)
	wantError(t, "write", err, syscall.EBADF)
	_, err = file.WriteParts([][]byte{[]byte("x"), make([]byte, 1<<20)}, 0, WontRead)
	wantError(t, "write parts", err, syscall.EBADF)
	wantError(t, "truncate", file.Truncate(0), syscall.EBADF)
	wantError(t, "allocate", file.Allocate(100), syscall.EBADF)
	wantError(t, "sync", file.Sync(), syscall.EBADF)
	wantError(t, "write out", file.WriteOut(0, 1, true), syscall.EBADF)
	if whole(t, file) != "content" {
		t.Error("changed")
	}
}

func testNames(t *testing.T, f FS) {
	for _, name := range []string{"", "/", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a"} {
		_, err := f.Create(name)
		wantError(t, "create "+name, err, fs.ErrInvalid)
		_, err = f.OpenRead(name)
		wantError(t, "open "+name, err, fs.ErrInvalid)
		_, err = f.List(name)
		wantError(t, "list "+name, err, fs.ErrInvalid)
		_, err = f.Stat(name)
		wantError(t, "stat "+name, err, fs.ErrInvalid)
		wantError(t, "remove "+name, f.Remove(name), fs.ErrInvalid)
		wantError(t, "remove all "+name, f.RemoveAll(name), fs.ErrInvalid)
		wantError(t, "mkdir all "+name, f.MkdirAll(name), fs.ErrInvalid)
		wantError(t, "mkdir "+name, f.Mkdir(name), fs.ErrInvalid)
		wantError(t, "sync "+name, f.SyncDir(name), fs.ErrInvalid)
		wantError(t, "rename "+name, f.Rename(name, "x"), fs.ErrInvalid)
		wantError(t, "rename to "+name, f.Rename("x", name), fs.ErrInvalid)
	}
	wantError(t, "remove the root", f.Remove("."), fs.ErrInvalid)
	wantError(t, "mkdir the root", f.Mkdir("."), fs.ErrInvalid)
	wantError(t, "remove all of the root", f.RemoveAll("."), fs.ErrInvalid)
}

func testDirectories(t *testing.T, f FS) {
	must(t, f.MkdirAll("."), f.MkdirAll("a/b/c"), f.MkdirAll("a/b"), f.MkdirAll("a/d"))
	write(t, f, "a/b/z", "1")
	write(t, f, "a/b/y", "22")
	must(t, f.SyncDir("a/b"))
	infos, err := f.List("a/b")
	must(t, err)
	var got []Info
	for _, i := range infos {
		got = append(got, Info{Name: i.Name, SizeBytes: i.SizeBytes, Dir: i.Dir})
	}
	if want := []Info{{Name: "c", Dir: true}, {Name: "y", SizeBytes: 2}, {Name: "z", SizeBytes: 1}}; !slices.Equal(got, want) {
		t.Errorf("listed %+v", got)
	}
	if info, err := f.Stat("a/b"); err != nil || !info.Dir || info.Name != "b" || info.SizeBytes != 0 {
		t.Errorf("stat %+v %v", info, err)
	}
	_, err = f.List("a/none")
	wantError(t, "list what is not there", err, fs.ErrNotExist)
	_, err = f.List("a/b/z")
	wantError(t, "list a file", err, syscall.ENOTDIR)
	_, err = f.Create("a/b")
	wantError(t, "create over a directory", err, syscall.EISDIR)
	_, err = f.Open("a/b")
	wantError(t, "open a directory", err, syscall.EISDIR)
	_, err = f.OpenRead("a/b")
	wantError(t, "open a directory", err, syscall.EISDIR)
	wantError(t, "mkdir over a file", f.MkdirAll("a/b/z/x"), syscall.ENOTDIR)
	must(t, f.Mkdir("a/b/e"), f.SyncDir("a/b"))
	wantError(t, "mkdir of what is there", f.Mkdir("a/b/e"), fs.ErrExist)
	wantError(t, "mkdir without a parent", f.Mkdir("a/none/e"), fs.ErrNotExist)
	wantError(t, "mkdir in a file", f.Mkdir("a/b/z/e"), syscall.ENOTDIR)
	if got := names(t, f, "a/b"); got != "c e y z" {
		t.Errorf("made: %s", got)
	}
	must(t, f.Remove("a/b/e"))
	wantError(t, "remove a full directory", f.Remove("a/b"), syscall.ENOTEMPTY)
	must(t, f.Remove("a/b/c"), f.RemoveAll("a/b"), f.RemoveAll("a/b"), f.RemoveAll("none"), f.SyncDir("a"))
	if got := names(t, f, "a"); got != "d" {
		t.Errorf("left: %s", got)
	}
}

func testRename(t *testing.T, f FS) {
	must(t, f.MkdirAll("d"))
	write(t, f, "a", "from a")
	write(t, f, "b", "from b")
	wantError(t, "rename what is not there", f.Rename("none", "x"), fs.ErrNotExist)
	wantError(t, "rename into no directory", f.Rename("a", "none/x"), fs.ErrNotExist)
	must(t, f.Rename("a", "b"), f.Rename("b", "b"))
	if got := names(t, f, "."); got != "b d" || content(t, f, "b") != "from a" {
		t.Errorf("renamed over another: %s, %q", got, content(t, f, "b"))
	}
	must(t, f.Rename("b", "d/c"), f.SyncDir("."), f.SyncDir("d"))
	if names(t, f, ".") != "d" || content(t, f, "d/c") != "from a" {
		t.Error("not renamed into the directory")
	}
	must(t, f.Rename("d", "e"))
	if names(t, f, ".") != "e" || content(t, f, "e/c") != "from a" {
		t.Error("a directory is not renamed with what is in it")
	}
	must(t, f.MkdirAll("full"))
	write(t, f, "full/x", "")
	write(t, f, "file", "")
	if err := f.Rename("e", "full"); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		t.Errorf("rename over a full directory: %v", err)
	}
	// os.Root returns EEXIST where the kernel returns EISDIR.
	if err := f.Rename("file", "e"); !errors.Is(err, syscall.EISDIR) && !errors.Is(err, syscall.EEXIST) {
		t.Errorf("rename a file over a directory: %v", err)
	}
	wantError(t, "rename a directory over a file", f.Rename("e", "file"), syscall.ENOTDIR)
	wantError(t, "rename a directory into itself", f.Rename("e", "e/x"), syscall.EINVAL)
}

func testRemovedWhileOpen(t *testing.T, f FS) {
	file := create(t, f, "a", "content")
	must(t, f.Remove("a"))
	write(t, f, "a", "another")
	_, err := file.WriteAt([]byte("C"), 0)
	must(t, err)
	if got := whole(t, file); got != "Content" {
		t.Errorf("an open file without a name has %q", got)
	}
	must(t, file.Sync(), file.Close())
	if got := content(t, f, "a"); got != "another" {
		t.Errorf("the new file has %q", got)
	}
}

func testClosed(t *testing.T, f FS) {
	file := create(t, f, "a", "content")
	must(t, file.Close())
	_, err := file.ReadAt(make([]byte, 1), 0)
	wantError(t, "read", err, fs.ErrClosed)
	_, err = file.WriteAt(make([]byte, 1), 0)
	wantError(t, "write", err, fs.ErrClosed)
	_, err = file.Size()
	wantError(t, "size", err, fs.ErrClosed)
	wantError(t, "sync", file.Sync(), fs.ErrClosed)
	wantError(t, "write out", file.WriteOut(0, 1, true), fs.ErrClosed)
	wantError(t, "truncate", file.Truncate(0), fs.ErrClosed)
	wantError(t, "allocate", file.Allocate(100), fs.ErrClosed)
	wantError(t, "close", file.Close(), fs.ErrClosed)
}

func testConcurrent(t *testing.T, f FS) {
	file := create(t, f, "a", "")
	defer file.Close()
	const writers, blocks, blockBytes = 4, 50, 700
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			block, back := bytes.Repeat([]byte{byte('a' + w)}, blockBytes), make([]byte, blockBytes)
			for i := range blocks {
				at := int64((i*writers + w) * blockBytes)
				if _, err := file.WriteAt(block, at); err != nil {
					t.Error(err)
				}
				if _, err := file.ReadAt(back, at); err != nil && err != io.EOF || !bytes.Equal(back, block) {
					t.Errorf("read back at %d: %v", at, err)
				}
				if i%10 == 0 {
					if err := file.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	got := whole(t, file)
	for i := range writers * blocks {
		if part := got[i*blockBytes : (i+1)*blockBytes]; part != strings.Repeat(string(rune('a'+i%writers)), blockBytes) {
			t.Fatalf("block %d is wrong", i)
		}
	}
}

// One file against a slice of bytes.
func testRandom(t *testing.T, f FS) {
	const seed = 42
	rng := rand.New(rand.NewSource(seed))
	file := create(t, f, "a", "")
	defer file.Close()
	var model []byte
	grow := func(n int) {
		if n > len(model) {
			model = append(model, make([]byte, n-len(model))...)
		}
	}
	for step := range 400 {
		at, n := rng.Intn(30000), rng.Intn(9000)
		switch rng.Intn(10) {
		case 0:
			must(t, file.Truncate(int64(at)))
			grow(at)
			model = model[:at:at]
		case 1:
			must(t, file.Allocate(int64(at)))
			grow(at)
		case 2, 3:
			must(t, file.Sync())
		default:
			b := make([]byte, n)
			rng.Read(b)
			_, err := file.WriteAt(b, int64(at))
			must(t, err)
			if n > 0 {
				grow(at + n)
				copy(model[at:], b)
			}
		}
		if whole(t, file) != string(model) {
			t.Fatalf("wrong after step %d (seed %d)", step, seed)
		}
	}
}

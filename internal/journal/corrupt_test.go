package journal

import (
	"errors"
	"fmt"
	"math/rand"
	"path"
	"strings"
	"testing"

	"tidings.dev/internal/faults"
	"tidings.dev/internal/vfs"
)

// image is a disk with a journal of several files, spares among them, of which everything was acknowledged.
type image struct {
	disk     *vfs.Mem
	after    LSN
	payloads []string // above after
	lastOnly int      // how many of them are in the last commit
}

// newImage writes a journal in two sessions, the second of which is closed or loses its power.
func newImage(t testing.TB, closed bool) image {
	t.Helper()
	rng := rand.New(rand.NewSource(1))
	disk := vfs.NewMem()
	o := Options{FileBytes: 4 << 10}
	img := image{disk: disk, lastOnly: 1}
	j, _, _ := mustOpen(t, disk, 0, o)
	for session := range 2 {
		for i := range 12 {
			payload := fmt.Sprintf("session %d entry %d %s", session, i, strings.Repeat("x", rng.Intn(600)))
			lsn := appendWait(t, j, payload)
			img.payloads = append(img.payloads, payload)
			if lsn == 9 {
				img.after, img.payloads = 8, img.payloads[8:]
				if err := j.Release(8); err != nil {
					t.Fatal(err)
				}
			}
		}
		if session == 0 {
			mustClose(t, j)
			j, _, _ = mustOpen(t, disk, img.after, o)
		}
	}
	if closed {
		mustClose(t, j)
	}
	disk.PowerOff()
	j.Close()
	img.disk = disk.CrashClone(rng)
	return img
}

// copy returns another disk with the same content; nothing is unsynced in img.disk.
func (img image) copy() *vfs.Mem { return img.disk.CrashClone(rand.New(rand.NewSource(1))) }

func (img image) files(t testing.TB) []vfs.Info {
	t.Helper()
	infos, err := img.disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// judge opens a damaged copy and says what is wrong with what the journal made of it: "" if it gave an error that
// names a file, or all the entries; and, where the last commit may be lost, all but that.
func (img image) judge(disk *vfs.Mem, mayLoseLast bool) string {
	j, r, rec, err := open(disk, img.after, Options{FileBytes: 4 << 10})
	if err != nil {
		if isCorrupt(err) && strings.Contains(err.Error(), dir) {
			return ""
		}
		return fmt.Sprintf("open: %v", err)
	}
	defer j.Close()
	missing := len(img.payloads) - len(r.payloads)
	if missing < 0 || texts(r) != fmt.Sprint(img.payloads[:len(r.payloads)]) {
		return "wrong entries: " + texts(r)
	}
	if missing > 0 && (!mayLoseLast || missing > img.lastOnly) {
		return fmt.Sprintf("%d entries silently lost", missing)
	}
	if missing > 0 && rec.Torn == nil {
		return "the last commit is lost and no torn tail reported"
	}
	return ""
}

func mutate(t testing.TB, disk *vfs.Mem, name string, do func(f vfs.File)) {
	t.Helper()
	f, err := disk.Open(path.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	do(f)
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Every byte of every file is changed, one at a time: nothing wrong is ever replayed, and nothing is missing without
// being named. After an unclean stop, the last commit can't be told from a torn tail: it is reported as such.
func TestEveryByteFlipped(t *testing.T) {
	for _, closed := range []bool{true, false} {
		img := newImage(t, closed)
		for _, info := range img.files(t) {
			for at := int64(0); at < info.SizeBytes; at++ {
				disk := img.copy()
				mutate(t, disk, info.Name, func(f vfs.File) {
					var b [1]byte
					f.ReadAt(b[:], at)
					b[0] ^= byte(1 << (at % 8))
					f.WriteAt(b[:], at)
				})
				if wrong := img.judge(disk, !closed); wrong != "" {
					t.Fatalf("closed %v, %s, byte %d flipped: %s", closed, info.Name, at, wrong)
				}
			}
		}
	}
}

// Case: the first frame of the last file cannot be read, and the caller knows that entries of it were durable. The error names
// that file, whichever byte is changed, and however many frames the file has.
func TestTheFileIsNamedThatHasTheMissingEntries(t *testing.T) {
	for frames := 1; frames <= 2; frames++ {
		disk := vfs.NewMem()
		o := Options{FileBytes: 4 << 10}
		j, _, _ := mustOpen(t, disk, 0, o)
		appendWait(t, j, "in the first file")
		mustClose(t, j)
		j, _, _ = mustOpen(t, disk, 0, o)
		last := path.Join(dir, journalName(j.current.generation))
		var durable LSN
		for range frames {
			durable = appendWait(t, j, strings.Repeat("in the last file", 5))
		}
		disk.PowerOff()
		j.Close()
		disk = disk.CrashClone(rand.New(rand.NewSource(1)))
		for at := range int64(300) {
			damaged := disk.CrashClone(rand.New(rand.NewSource(1)))
			mutate(t, damaged, path.Base(last), func(f vfs.File) {
				var b [1]byte
				f.ReadAt(b[:], at)
				b[0] ^= byte(1 << (at % 8))
				f.WriteAt(b[:], at)
			})
			j, _, _, err := open(damaged, durable, o)
			if err == nil {
				j.Close() // a byte that nothing depends on, as those that fill a frame up
				continue
			}
			if corrupt, ok := errors.AsType[*CorruptError](err); !ok || corrupt.File != last {
				t.Fatalf("%d frames, byte %d of %s flipped: %v", frames, at, last, err)
			}
		}
	}
}

// Files go missing, change places, are cut, and lose pages.
func TestFilesDamaged(t *testing.T) {
	for _, closed := range []bool{true, false} {
		img := newImage(t, closed)
		infos := img.files(t)
		inUse := func(i vfs.Info) bool { return strings.HasSuffix(i.Name, journalSuffix) }
		check := func(what string, disk *vfs.Mem, mayLoseLast bool) {
			t.Helper()
			if wrong := img.judge(disk, mayLoseLast); wrong != "" {
				t.Errorf("closed %v, %s: %s", closed, what, wrong)
			}
		}
		for _, info := range infos {
			name := path.Join(dir, info.Name)
			disk := img.copy()
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
			check(info.Name+" missing", disk, false)

			for _, other := range infos {
				if !inUse(info) || other.Name == info.Name || other.SizeBytes == 0 {
					continue
				}
				disk := img.copy()
				otherName := path.Join(dir, other.Name)
				if err := errors.Join(disk.Rename(name, dir+"/x"), disk.Rename(otherName, name), disk.Rename(dir+"/x", otherName)); err != nil {
					t.Fatal(err)
				}
				check(info.Name+" and "+other.Name+" swapped", disk, false)
			}
			for at := int64(0); at < info.SizeBytes; at += 256 {
				disk := img.copy()
				mutate(t, disk, info.Name, func(f vfs.File) { f.Truncate(at) })
				check(fmt.Sprintf("%s cut to %d", info.Name, at), disk, !closed)
			}
		}
		if !closed {
			continue // a page of the last commit that is zero looks like one that never came to the disk
		}
		for _, info := range infos {
			for at := int64(0); at < info.SizeBytes; at += 512 {
				disk := img.copy()
				mutate(t, disk, info.Name, func(f vfs.File) { f.WriteAt(make([]byte, 512), at) })
				check(fmt.Sprintf("%s, zeros at %d", info.Name, at), disk, false)
			}
		}
	}
}

// A torn tail is cut, kept aside and reported, once; the numbers of what was never acknowledged are given again.
func TestTornTail(t *testing.T) {
	disk := vfs.NewMem()
	j, _, _ := mustOpen(t, disk, 0, Options{FileBytes: 8 << 10})
	appendWait(t, j, "acknowledged")
	appendWait(t, j, strings.Repeat("torn ", 300))
	disk.PowerOff()
	j.Close()
	disk = disk.CrashClone(rand.New(rand.NewSource(1)))
	mutate(t, disk, journalName(1), func(f vfs.File) { f.WriteAt(make([]byte, 512), 1024+512) })

	j, r, rec := mustOpen(t, disk, 0, Options{FileBytes: 8 << 10})
	if texts(r) != "[acknowledged]" || rec.Last != 1 {
		t.Fatalf("replayed %s, last %d", texts(r), rec.Last)
	}
	if rec.Torn == nil || rec.Torn.File != "journal/"+journalName(1) || rec.Torn.PositionBytes != 1024 || rec.Torn.Bytes != 2048 {
		t.Fatalf("torn %+v", rec.Torn)
	}
	if info, err := disk.Stat(rec.Torn.KeptIn); err != nil || info.SizeBytes != rec.Torn.Bytes {
		t.Fatalf("kept aside: %+v, %v", info, err)
	}
	if lsn := appendWait(t, j, "again two"); lsn != 2 {
		t.Fatalf("LSN %d", lsn)
	}
	mustClose(t, j)
	j, r, rec = mustOpen(t, disk, 0, Options{FileBytes: 8 << 10})
	if texts(r) != "[acknowledged again two]" || rec.Torn != nil {
		t.Fatalf("replayed %s, torn %+v", texts(r), rec.Torn)
	}
	mustClose(t, j)
}

// Doing what a *CorruptError says gives back everything before the damage.
func TestRepairAsTold(t *testing.T) {
	img := newImage(t, true)
	for _, info := range img.files(t) {
		for at := int64(0); at < info.SizeBytes; at += 512 {
			disk := img.copy()
			mutate(t, disk, info.Name, func(f vfs.File) { f.WriteAt([]byte("damage"), at+100) })
			_, _, _, err := open(disk, img.after, Options{FileBytes: 4 << 10})
			corrupt, ok := errors.AsType[*CorruptError](err)
			if !ok || corrupt.LSN <= img.after+1 {
				continue // nothing to cut, or nothing left before it
			}
			for _, other := range img.files(t) {
				name := path.Join(dir, other.Name)
				if strings.HasSuffix(name, markerSuffix) || strings.HasSuffix(name, journalSuffix) && name > corrupt.File {
					if err := disk.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			mutate(t, disk, path.Base(corrupt.File), func(f vfs.File) {
				f.WriteAt(make([]byte, info.SizeBytes-corrupt.PositionBytes), corrupt.PositionBytes)
			})
			j, r, rec, err := open(disk, img.after, Options{FileBytes: 4 << 10})
			if err != nil {
				t.Fatalf("after the repair of %v: %v", corrupt, err)
			}
			if rec.Last != corrupt.LSN-1 || texts(r) != fmt.Sprint(img.payloads[:rec.Last-img.after]) {
				t.Fatalf("after the repair of %v: %s", corrupt, texts(r))
			}
			mustClose(t, j)
		}
	}
}

// A newer format is refused by name; a damaged version byte is damage.
func TestNewerVersion(t *testing.T) {
	img := newImage(t, true)
	last := ""
	for _, info := range img.files(t) {
		if strings.HasSuffix(info.Name, journalSuffix) {
			last = info.Name
		}
	}
	disk := img.copy()
	mutate(t, disk, last, func(f vfs.File) {
		frame := make([]byte, 512) // the mark with which a session begins
		f.ReadAt(frame, 0)
		h := parseHeader(frame)
		frame = make([]byte, frameBytes(int64(h.lengthBytes)))
		f.ReadAt(frame, 0)
		frame[3] = 9
		sum := frameChecksum(frame)
		frame[4], frame[5], frame[6], frame[7] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
		f.WriteAt(frame, 0)
	})
	_, _, _, err := open(disk, img.after, Options{})
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Version != 9 || v.File != path.Join(dir, last) {
		t.Fatalf("got %v", err)
	}
}

// Whatever bytes stand in a file, Open ends, without a panic, in time and memory in proportion to them, and replays no
// more than there is. Since the journal runs
// goroutines, whose coverage varies, fuzz it with -fuzzminimizetime 1x.
func FuzzOpen(f *testing.F) {
	img := newImage(f, false)
	for _, info := range img.files(f) {
		b := make([]byte, info.SizeBytes)
		if file, err := img.disk.Open(path.Join(dir, info.Name)); err == nil {
			file.ReadAt(b, 0)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := vfs.NewMem()
		if err := disk.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		file, err := disk.Create(path.Join(dir, journalName(1)))
		if err == nil {
			_, err = file.WriteAt(b, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		replayed := 0
		faults.Bound(t, len(b), 4<<20, 64, func() {
			j, _, err := Open(disk, dir, 0, func(_ LSN, _ Kind, p []byte) error { replayed += len(p); return nil }, Options{FileBytes: 4 << 10})
			if err == nil {
				mustClose(t, j)
			}
		})
		if replayed > len(b) {
			t.Fatalf("%d bytes replayed from %d", replayed, len(b))
		}
	})
}

// Case: the file that is written changes places with one of which nothing is needed any more, and which stands there
// until the next Release. Neither begins with a frame of its own then, and nothing else in the journal misses them.
func TestLastChangesPlacesWithUseless(t *testing.T) {
	disk := vfs.NewMem()
	o := Options{FileBytes: 4 << 10}
	j, _, _ := mustOpen(t, disk, 0, o)
	for after := range LSN(2) {
		appendWait(t, j, "safe elsewhere")
		mustClose(t, j)
		j, _, _ = mustOpen(t, disk, after+1, o)
	}
	appendWait(t, j, "acknowledged")
	disk.PowerOff()
	j.Close()
	disk = disk.CrashClone(rand.New(rand.NewSource(1)))
	inv, err := listFiles(disk, dir)
	if err != nil || len(inv.journals) != 3 {
		t.Fatalf("%d files, %v", len(inv.journals), err)
	}
	a, b := inv.journals[0].name, inv.journals[2].name
	for _, move := range [][2]string{{a, "aside"}, {b, a}, {"aside", b}} {
		if err := disk.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, r, _, err := open(disk, 2, o); !isCorrupt(err) || !strings.Contains(err.Error(), b) {
		t.Errorf("%v, with %s", err, texts(r))
	}
}

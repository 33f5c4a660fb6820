package vfs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outcomes cuts the power many times and counts the results of describe on what is left.
func outcomes(t *testing.T, m *Mem, describe func(*Mem) string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	rng := rand.New(rand.NewSource(1))
	for range 500 {
		seen[describe(m.CrashClone(rng))]++
	}
	return seen
}

// wantOutcomes checks that exactly these states are possible after a power cut.
func wantOutcomes(t *testing.T, what string, seen map[string]int, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("%s: after power cuts there was %q, want %q", what, got, want)
	}
}

// dump describes the names and contents of a disk.
func dump(t *testing.T, m *Mem, dir string) string {
	t.Helper()
	infos, err := m.List(dir)
	must(t, err)
	var s []string
	for _, i := range infos {
		name := path.Join(dir, i.Name)
		if i.Dir {
			s = append(s, name+"/"+dump(t, m, name))
		} else {
			s = append(s, name+"="+content(t, m, name))
		}
	}
	return "[" + strings.Join(s, " ") + "]"
}

func whichTree(t *testing.T) func(*Mem) string {
	return func(m *Mem) string { return dump(t, m, ".") }
}

// What a power cut leaves of names.
func TestCrashNames(t *testing.T) {
	// Case: a file is synced, its name is not.
	m := NewMem()
	write(t, m, "a", "1")
	wantOutcomes(t, "unsynced name", outcomes(t, m, whichTree(t)), "[]", "[a=1]")
	must(t, m.SyncDir("."))
	wantOutcomes(t, "synced name", outcomes(t, m, whichTree(t)), "[a=1]")

	// Case: names are kept in the order in which they were made.
	write(t, m, "b", "2")
	write(t, m, "c", "3")
	wantOutcomes(t, "prefix", outcomes(t, m, whichTree(t)), "[a=1]", "[a=1 b=2]", "[a=1 b=2 c=3]")
	must(t, m.SyncDir("."))

	// Case: a rename replaces, as a whole.
	must(t, m.Rename("b", "a"))
	wantOutcomes(t, "rename", outcomes(t, m, whichTree(t)), "[a=1 b=2 c=3]", "[a=2 c=3]")
	must(t, m.SyncDir("."))
	wantOutcomes(t, "synced rename", outcomes(t, m, whichTree(t)), "[a=2 c=3]")

	// Case: a removed file comes back.
	must(t, m.Remove("a"))
	wantOutcomes(t, "remove", outcomes(t, m, whichTree(t)), "[a=2 c=3]", "[c=3]")
	must(t, m.SyncDir("."))
	wantOutcomes(t, "synced remove", outcomes(t, m, whichTree(t)), "[c=3]")

	// Case: directories are durable when made, what is in them is not, and removing a tree is.
	must(t, m.MkdirAll("d/e"))
	write(t, m, "d/e/f", "4")
	wantOutcomes(t, "directories", outcomes(t, m, whichTree(t)), "[c=3 d/[d/e/[]]]", "[c=3 d/[d/e/[d/e/f=4]]]")
	must(t, m.SyncDir("d/e"), m.RemoveAll("d"), m.SyncDir("."))
	wantOutcomes(t, "removed tree", outcomes(t, m, whichTree(t)), "[c=3]")

	// Case: a directory made where something else was pending.
	must(t, m.Remove("c"), m.MkdirAll("c"))
	wantOutcomes(t, "directory in place of a file", outcomes(t, m, whichTree(t)), "[c/[]]")

	// Case: directories that are made one by one are durable when their parent is synced, and so is what is in them.
	must(t, m.Mkdir("c/g"))
	write(t, m, "c/g/h", "5")
	must(t, m.SyncDir("c/g"))
	wantOutcomes(t, "directory in a directory", outcomes(t, m, whichTree(t)), "[c/[]]", "[c/[c/g/[c/g/h=5]]]")
	must(t, m.SyncDir("c"))
	wantOutcomes(t, "synced directory", outcomes(t, m, whichTree(t)), "[c/[c/g/[c/g/h=5]]]")
}

// A rename across directories is whole while neither is synced; with one of them synced the other may lag.
func TestCrashRenameAcross(t *testing.T) {
	build := func() *Mem {
		m := NewMem()
		must(t, m.MkdirAll("x"), m.MkdirAll("y"))
		write(t, m, "x/a", "1")
		must(t, m.SyncDir("x"), m.Rename("x/a", "y/a"))
		return m
	}
	m := build()
	wantOutcomes(t, "neither", outcomes(t, m, whichTree(t)), "[x/[x/a=1] y/[]]", "[x/[] y/[y/a=1]]")
	must(t, m.SyncDir("y"))
	wantOutcomes(t, "new one", outcomes(t, m, whichTree(t)), "[x/[x/a=1] y/[y/a=1]]", "[x/[] y/[y/a=1]]")
	must(t, m.SyncDir("x"))
	wantOutcomes(t, "both", outcomes(t, m, whichTree(t)), "[x/[] y/[y/a=1]]")
	m = build()
	must(t, m.SyncDir("x"))
	wantOutcomes(t, "old one", outcomes(t, m, whichTree(t)), "[x/[] y/[]]", "[x/[] y/[y/a=1]]")
}

// sectors returns the first byte of each sector of a file.
func sectors(t *testing.T, m *Mem, name string) string {
	t.Helper()
	b := content(t, m, name)
	var s strings.Builder
	for at := 0; at < len(b); at += sectorBytes {
		part := b[at:min(len(b), at+sectorBytes)]
		c := part[:1]
		if part != strings.Repeat(c, len(part)) {
			c = "?" // torn within a sector
		}
		if c == "\x00" {
			c = "."
		}
		s.WriteString(c)
	}
	return s.String()
}

// What a power cut leaves of content: any sectors of what was not synced, everything that was.
func TestCrashContent(t *testing.T) {
	m := NewMem()
	f := create(t, m, "a", strings.Repeat("A", 3*sectorBytes))
	must(t, m.SyncDir("."))
	seen := outcomes(t, m, func(m *Mem) string { return sectors(t, m, "a") })
	for _, want := range []string{"", "AAA", "...", "A.A", "AA"} {
		if seen[want] == 0 {
			t.Errorf("%q of a new file was never left: %v", want, seen)
		}
	}
	must(t, f.Sync())
	which := func(m *Mem) string { return sectors(t, m, "a") }
	wantOutcomes(t, "synced", outcomes(t, m, which), "AAA")

	_, err := f.WriteAt([]byte(strings.Repeat("B", 2*sectorBytes)), 0)
	must(t, err)
	wantOutcomes(t, "overwritten", outcomes(t, m, which), "AAA", "ABA", "BAA", "BBA")

	// Case: written twice, a sector may have the state between.
	_, err = f.WriteAt([]byte(strings.Repeat("C", sectorBytes)), 0)
	must(t, err)
	wantOutcomes(t, "overwritten twice", outcomes(t, m, which), "AAA", "ABA", "BAA", "BBA", "CAA", "CBA")
	must(t, f.Sync())
	wantOutcomes(t, "synced again", outcomes(t, m, which), "CBA")

	// Case: a length is not durable before the sync, either way.
	must(t, f.Truncate(sectorBytes))
	seen = outcomes(t, m, which)
	if seen["C"] == 0 || seen["CBA"] == 0 || seen["C.."] == 0 {
		t.Errorf("cut: %v", seen)
	}
	must(t, f.Sync())
	wantOutcomes(t, "synced cut", outcomes(t, m, which), "C")

	// Case: allocated, synced, then written within: only content is at stake.
	must(t, f.Allocate(4*sectorBytes), f.Sync())
	wantOutcomes(t, "allocated", outcomes(t, m, which), "C...")
	_, err = f.WriteAt([]byte(strings.Repeat("D", sectorBytes)), 2*sectorBytes)
	must(t, err)
	wantOutcomes(t, "written within", outcomes(t, m, which), "C...", "C.D.")
	// Case: syncing another file helps nothing.
	write(t, m, "b", "")
	must(t, m.SyncDir("."))
	wantOutcomes(t, "another synced", outcomes(t, m, which), "C...", "C.D.")
}

// Whatever is done to a few files, what a power cut leaves is allowed: synced sectors are there, others are one of the
// states since. The model knows every state that each sector had.
func TestCrashRandom(t *testing.T) {
	for range 300 {
		seed := time.Now().UnixNano()
		if err := crashRandom(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func crashRandom(seed int64) error {
	rng := rand.New(rand.NewSource(seed))
	m := NewMem()
	f, err := m.Create("a")
	if err != nil {
		return err
	}
	const sectors = 20
	if err := errors.Join(m.SyncDir("."), f.Allocate(sectors*sectorBytes), f.Sync()); err != nil {
		return err
	}
	var states [sectors]map[byte]bool // what a cut may leave
	var last [sectors]byte
	settle := func() {
		for s := range states {
			states[s] = map[byte]bool{last[s]: true}
		}
	}
	settle()
	for step := range 60 {
		switch rng.Intn(8) {
		case 0:
			if err := f.Sync(); err != nil {
				return err
			}
			settle()
		case 1:
			clone := m.CrashClone(rng)
			left, err := clone.OpenRead("a")
			if err != nil {
				return err
			}
			b := make([]byte, sectors*sectorBytes)
			if n, err := left.ReadAt(b, 0); n != len(b) {
				return fmt.Errorf("step %d: %d bytes left: %v", step, n, err)
			}
			for s := range states {
				part := b[s*sectorBytes : (s+1)*sectorBytes]
				if !states[s][part[0]] || string(part) != strings.Repeat(string(part[:1]), sectorBytes) {
					return fmt.Errorf("step %d: sector %d has %d, which is none of %v, or torn", step, s, part[0], states[s])
				}
			}
			if rng.Intn(2) == 0 {
				// Go on with what is left, which must behave as if it had been synced.
				if m, f, err = clone, nil, nil; err == nil {
					f, err = clone.Open("a")
				}
				if err != nil {
					return err
				}
				for s := range last {
					last[s] = b[s*sectorBytes]
				}
				settle()
			}
		default:
			from := rng.Intn(sectors)
			to := from + 1 + rng.Intn(sectors-from)
			value := byte(step + 1)
			b := make([]byte, (to-from)*sectorBytes)
			for i := range b {
				b[i] = value
			}
			if _, err := f.WriteAt(b, int64(from*sectorBytes)); err != nil {
				return err
			}
			for s := from; s < to; s++ {
				states[s][value], last[s] = true, value
			}
		}
	}
	return nil
}

// A clone and its original share nothing that either can change.
func TestCrashCloneIsApart(t *testing.T) {
	m := NewMem()
	write(t, m, "a", "original")
	must(t, m.SyncDir("."))
	clone := m.CrashClone(rand.New(rand.NewSource(1)))
	write(t, clone, "a", "clone")
	must(t, clone.MkdirAll("d"))
	if got := dump(t, m, "."); got != "[a=original]" {
		t.Errorf("the original has %s", got)
	}
	write(t, m, "a", "changed!")
	if got := dump(t, clone, "."); got != "[a=clone d/[]]" {
		t.Errorf("the clone has %s", got)
	}
}

// With the power off nothing works, and a clone is what the disk holds.
func TestPowerOff(t *testing.T) {
	m := NewMem()
	f := create(t, m, "a", "synced")
	must(t, f.Sync(), m.SyncDir("."))
	m.PowerOff()
	_, err := f.WriteAt([]byte("x"), 0)
	wantError(t, "write", err, ErrPowerCut)
	_, err = f.ReadAt(make([]byte, 1), 0)
	wantError(t, "read", err, ErrPowerCut)
	wantError(t, "sync", f.Sync(), ErrPowerCut)
	_, err = m.Create("b")
	wantError(t, "create", err, ErrPowerCut)
	_, err = m.List(".")
	wantError(t, "list", err, ErrPowerCut)
	wantError(t, "mkdir", m.MkdirAll("d"), ErrPowerCut)
	wantError(t, "sync directory", m.SyncDir("."), ErrPowerCut)
	must(t, f.Close())
	if got := dump(t, m.CrashClone(rand.New(rand.NewSource(1))), "."); got != "[a=synced]" {
		t.Errorf("left: %s", got)
	}
}

// A full disk takes what fits, and works again when there is room.
func TestLimit(t *testing.T) {
	m := NewMem()
	m.LimitBytes(1000)
	f := create(t, m, "a", strings.Repeat("x", 600))
	n, err := f.WriteAt([]byte(strings.Repeat("y", 600)), 600)
	wantError(t, "write", err, syscall.ENOSPC)
	if size, _ := f.Size(); n != 400 || size != 1000 || m.UsedBytes() != 1000 {
		t.Errorf("wrote %d, size %d, used %d", n, size, m.UsedBytes())
	}
	_, err = f.WriteAt([]byte("z"), 5000)
	wantError(t, "write far out", err, syscall.ENOSPC)
	wantError(t, "allocate", f.Allocate(1001), syscall.ENOSPC)
	wantError(t, "truncate", f.Truncate(1001), syscall.ENOSPC)
	if size, _ := f.Size(); size != 1000 || m.UsedBytes() != 1000 {
		t.Errorf("failed operations changed the size to %d, used %d", size, m.UsedBytes())
	}
	_, err = f.WriteAt([]byte("z"), 10)
	must(t, err, f.Truncate(100))
	g := create(t, m, "b", strings.Repeat("x", 900))
	must(t, m.Remove("a"))
	if m.UsedBytes() != 900 {
		t.Errorf("used %d after a remove", m.UsedBytes())
	}
	must(t, g.Truncate(0), m.Rename("b", "c"), m.RemoveAll("c"))
	if m.UsedBytes() != 0 {
		t.Errorf("used %d of nothing", m.UsedBytes())
	}
}

// A clone costs little: what one crash cycle of a small workload on preallocated files takes.
func BenchmarkCrashCycle(b *testing.B) {
	rng := rand.New(rand.NewSource(1))
	m := NewMem()
	f, _ := m.Create("a")
	if err := errors.Join(f.Allocate(16<<20), f.Sync(), m.SyncDir(".")); err != nil {
		b.Fatal(err)
	}
	frame := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		for i := range 20 {
			f.WriteAt(frame, int64(i)*1024)
			if i%2 == 0 {
				f.Sync()
			}
		}
		m = m.CrashClone(rng)
		f, _ = m.Open("a")
	}
}

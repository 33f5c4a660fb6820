package doctor_test

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/doctor"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// change rewrites a file.
func change(t testing.TB, disk vfs.FS, name string, do func(b []byte) []byte) {
	t.Helper()
	put(t, disk, name, do(get(t, disk, name)))
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x40; return b }
}

func cutTo(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func zero(from, n int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from:min(len(b), from+n)]); return b }
}

// changeOf returns a harm: do to the nth file of a kind.
func changeOf(file func(testing.TB, vfs.FS, int) string, n int, do func(b []byte) []byte) func(testing.TB, vfs.FS) string {
	return func(t testing.TB, disk vfs.FS) string {
		name := file(t, disk, n)
		change(t, disk, name, do)
		return name
	}
}

func swap(t testing.TB, disk vfs.FS, a, b string) {
	t.Helper()
	must(t, disk.Rename(a, "swapping"), disk.Rename(b, a), disk.Rename("swapping", b))
}

// Case: every sort of damage. The doctor names the file, and the position where there is one; the repair undoes it; a
// broker opens the directory, and of all that was acknowledged no more is missing than what stood in the damaged place.
func TestEverySortOfDamage(t *testing.T) {
	clean, killed := makeSample(t, true), makeSample(t, false)
	segment := func(t testing.TB, disk vfs.FS, n int) string { return files(t, disk, "topics/*/0/*.log")[n] }
	index := func(t testing.TB, disk vfs.FS, n int) string { return files(t, disk, "topics/*/0/*.index")[n] }
	lastJournal := func(t testing.TB, disk vfs.FS, n int) string { // the nth from the end
		all := journals(t, disk)
		return all[len(all)-1-n]
	}
	checkpoint := func(t testing.TB, disk vfs.FS, n int) string { return files(t, disk, "checkpoint-*")[n] }
	for name, c := range map[string]struct {
		of       sample
		harm     func(t testing.TB, disk vfs.FS) string // returns the name that the finding must have
		kind     string
		severity doctor.Severity
		most     int  // records that may be missing
		position bool // the group's position may go back
		names    bool // topics may have lost their names
		tail     bool // what came last may be gone without a trace
	}{
		"segment, a byte of a record": {of: clean, kind: "segment", severity: doctor.Damage, most: 1,
			harm: changeOf(segment, 0, flip(1000))},
		"segment, a length": {of: clean, kind: "segment", severity: doctor.Damage, most: 1,
			harm: changeOf(segment, 1, flip(8))},
		"segment, a base offset": {of: clean, kind: "segment", severity: doctor.Damage, most: 1,
			harm: changeOf(segment, 1, flip(7))},
		"segment, a leader epoch": {of: clean, kind: "segment", severity: doctor.Damage, most: 1,
			harm: changeOf(segment, 0, flip(14))},
		"segment cut": {of: clean, kind: "segment", severity: doctor.Damage, most: 8,
			harm: changeOf(segment, 0, cutTo(3500))},
		"segment, a page of zeros": {of: clean, kind: "segment", severity: doctor.Damage, most: 8,
			harm: changeOf(segment, 0, zero(2048, 4096))},
		"segment missing": {of: clean, kind: "segment", severity: doctor.Damage, most: 12,
			harm: func(t testing.TB, disk vfs.FS) string {
				name := segment(t, disk, 0)
				must(t, disk.Remove(name))
				return name
			}},
		"segments swapped": {of: clean, kind: "segment", severity: doctor.Damage, most: 24,
			harm: func(t testing.TB, disk vfs.FS) string {
				swap(t, disk, segment(t, disk, 0), segment(t, disk, 1))
				return segment(t, disk, 0)
			}},
		"all of a partition missing": {of: clean, kind: "directory", severity: doctor.Damage, most: 100,
			harm: func(t testing.TB, disk vfs.FS) string {
				name := path.Dir(segment(t, disk, 0))
				must(t, disk.RemoveAll(name))
				return name
			}},
		"index, a byte": {of: clean, kind: "index", severity: doctor.Warning,
			harm: changeOf(index, 0, flip(20))},
		"index, its head": {of: clean, kind: "index", severity: doctor.Warning,
			harm: changeOf(index, 0, flip(5))},
		"index cut": {of: clean, kind: "index", severity: doctor.Warning,
			harm: changeOf(index, 0, cutTo(17))},
		"index zeros": {of: clean, kind: "index", severity: doctor.Warning,
			harm: changeOf(index, 0, zero(0, 4096))},
		"index missing": {of: clean, kind: "index", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				name := index(t, disk, 0)
				must(t, disk.Remove(name))
				return name
			}},
		"indexes swapped": {of: clean, kind: "index", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				swap(t, disk, index(t, disk, 0), index(t, disk, 1))
				return index(t, disk, 0)
			}},
		"foreign in a partition": {of: clean, kind: "foreign", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				name := path.Join(path.Dir(segment(t, disk, 0)), "notes.txt")
				put(t, disk, name, []byte("x"))
				return name
			}},
		"foreign among topics": {of: clean, kind: "foreign", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				put(t, disk, "topics/orders", []byte("x"))
				return "topics/orders"
			}},
		"foreign on top": {of: clean, kind: "foreign", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string { put(t, disk, "thesis.doc", []byte("x")); return "thesis.doc" }},
		"foreign in the journal": {of: clean, kind: "foreign", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				put(t, disk, "journal/x", []byte("x"))
				return "journal/x"
			}},
		"newest checkpoint, a byte": {of: clean, kind: "checkpoint", severity: doctor.Warning,
			harm: changeOf(checkpoint, 1, flip(100))},
		"newest checkpoint cut": {of: killed, kind: "checkpoint", severity: doctor.Warning,
			harm: changeOf(checkpoint, 1, cutTo(200))},
		"older checkpoint, zeros": {of: clean, kind: "checkpoint", severity: doctor.Warning,
			harm: changeOf(checkpoint, 0, zero(0, 512))},
		"checkpoints swapped": {of: clean, kind: "checkpoint", severity: doctor.Warning,
			harm: func(t testing.TB, disk vfs.FS) string {
				swap(t, disk, checkpoint(t, disk, 0), checkpoint(t, disk, 1))
				return checkpoint(t, disk, 0)
			}},
		"both checkpoints, a byte": {of: clean, kind: "checkpoint", severity: doctor.Damage, names: true,
			harm: func(t testing.TB, disk vfs.FS) string {
				change(t, disk, checkpoint(t, disk, 0), flip(30))
				change(t, disk, checkpoint(t, disk, 1), flip(30))
				return checkpoint(t, disk, 1)
			}},
		"both checkpoints empty": {of: clean, kind: "checkpoint", severity: doctor.Damage, names: true, position: true,
			harm: func(t testing.TB, disk vfs.FS) string {
				change(t, disk, checkpoint(t, disk, 0), cutTo(0))
				change(t, disk, checkpoint(t, disk, 1), cutTo(0))
				return checkpoint(t, disk, 1)
			}},
		"both checkpoints missing": {of: killed, kind: "checkpoint", severity: doctor.Damage, names: true, position: true,
			harm: func(t testing.TB, disk vfs.FS) string {
				must(t, disk.Remove(checkpoint(t, disk, 1)), disk.Remove(checkpoint(t, disk, 0)))
				return ""
			}},
		"journal, a byte of a frame": {of: killed, kind: "journal", severity: doctor.Damage, most: 1, position: true,
			harm: changeOf(lastJournal, 0, flip(20*1024+700))},
		"journal, pages of zeros": {of: killed, kind: "journal", severity: doctor.Damage, most: 5, position: true,
			harm: changeOf(lastJournal, 0, zero(16<<10, 4096))},
		"journal cut": {of: killed, tail: true, kind: "journal", severity: doctor.Damage, most: 80, position: true,
			harm: changeOf(lastJournal, 0, cutTo(8<<10))},
		"last journal file missing": {of: killed, tail: true, kind: "journal", severity: doctor.Damage, most: 100, position: true,
			harm: func(t testing.TB, disk vfs.FS) string {
				name := lastJournal(t, disk, 0)
				must(t, disk.Remove(name))
				return name
			}},
		"all of the journal missing": {of: killed, tail: true, kind: "journal", severity: doctor.Damage, most: 110, position: true,
			harm: func(t testing.TB, disk vfs.FS) string { must(t, disk.RemoveAll("journal")); return "journal" }},
		"journal files swapped": {of: killed, kind: "journal", severity: doctor.Damage,
			harm: func(t testing.TB, disk vfs.FS) string {
				swap(t, disk, lastJournal(t, disk, 0), lastJournal(t, disk, 1))
				return ""
			}},
		"format missing": {of: clean, kind: "format", severity: doctor.Damage,
			harm: func(t testing.TB, disk vfs.FS) string { must(t, disk.Remove("FORMAT")); return "FORMAT" }},
		"format, a byte": {of: clean, kind: "format", severity: doctor.Damage,
			harm: func(t testing.TB, disk vfs.FS) string { change(t, disk, "FORMAT", flip(2)); return "FORMAT" }},
		"format empty": {of: clean, kind: "format", severity: doctor.Damage,
			harm: func(t testing.TB, disk vfs.FS) string { change(t, disk, "FORMAT", cutTo(0)); return "FORMAT" }},
	} {
		t.Run(name, func(t *testing.T) {
			disk := copyTree(t, c.of.disk)
			told := c.harm(t, disk)
			report, err := doctor.Check(disk, "dir")
			must(t, err)
			if !slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool {
				return f.Kind == c.kind && f.Severity == c.severity && (told == "" || f.File == told) && f.Repair != ""
			}) {
				t.Fatalf("not named: %s %s %s\n%s", c.severity, c.kind, told, summary(report))
			}
			before := copyTree(t, disk)
			done := repair(t, disk, report)
			books := c.of.audit(t, disk, c.tail)
			if n := books.count(); n > c.most {
				t.Errorf("%d records are missing, at most %d were damaged: %v\n%s%v", n, c.most, books.missing, summary(report), done.Lost)
			}
			if books.count() > 0 && len(done.Lost) == 0 {
				t.Errorf("%v are missing, and the repair says nothing", books.missing)
			}
			if books.position != c.of.position && !c.position {
				t.Errorf("the position was %d and is %d", c.of.position, books.position)
			}
			for id, name := range books.names {
				if name != c.of.topics[id] && !c.names {
					t.Errorf("topic %s is called %s", c.of.topics[id], name)
				}
			}
			keptAll(t, before, disk, done)
		})
	}
}

// keptAll checks that the repair threw nothing away: each file is where it was or below LostDir.
func keptAll(t *testing.T, before, after vfs.FS, done *doctor.Repaired) {
	t.Helper()
	have := map[string]bool{}
	for _, name := range files(t, after, "") {
		have[string(get(t, after, name))] = true
	}
	if done.Kept == "" {
		t.Error("the repair does not say where it kept what it took")
	}
	for _, name := range files(t, before, "") {
		if strings.HasPrefix(name, "topics/") || strings.HasPrefix(name, "checkpoint-") {
			if content := get(t, before, name); !have[string(content)] {
				// A broker has had the directory since: its checkpoints replace older ones, and it cuts and grows files.
				if _, err := after.Stat(path.Join(done.Kept, name)); err == nil {
					t.Errorf("%s was changed on its way to %s", name, done.Kept)
				}
			}
		}
	}
}

// Case: a directory is damaged at random: flips, cuts, zeros, missing and swapped files. Where the doctor finds nothing,
// nothing acknowledged is missing. Where it does, a repair makes a broker open the directory, no record is ever wrong, and
// none that stood elsewhere is missing.
func TestAnyHarm(t *testing.T) {
	seed := *harmSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay: go test ./internal/doctor -run TestAnyHarm -harm.seed=%d -harm.count=%d", seed, *harmCount)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 1))
	samples := []sample{makeSample(t, true), makeSample(t, false)}
	found, refused := 0, 0
	for i := 0; i < *harmCount && !t.Failed(); i++ {
		s := samples[i%2]
		disk := copyTree(t, s.disk)
		all := files(t, disk, "")
		var harmed []string
		for range 1 + rng.IntN(2) {
			harmed = append(harmed, harm(t, disk, all[rng.IntN(len(all))], all, rng))
		}
		what := fmt.Sprintf("harm %d: %s", i, strings.Join(harmed, "; "))
		report, err := doctor.Check(disk, "dir")
		if err != nil {
			// A flip in a version can't be told from a newer version: refused, and nothing is touched.
			if !strings.Contains(err.Error(), "newer") {
				t.Fatalf("%s: %v", what, err)
			}
			refused++
			continue
		}
		if report.Clean() {
			// After a kill, damage to what was written last looks like what was never written (docs/format/journal.md).
			used := journals(t, s.disk)
			last := i%2 == 1 && strings.Contains(what, used[len(used)-1])
			if b := s.audit(t, disk, last); (b.count() > 0 || b.position != s.position) && !last {
				t.Errorf("%s: nothing found, and missing are %v, position %d", what, b.missing, b.position)
			}
			continue
		}
		found++
		if !slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Repair != "" }) {
			if _, err := engine.Open(config(vfs.NewOverlay(disk))); err != nil {
				t.Errorf("%s: no repair, and it does not open: %v", what, err)
			}
			continue
		}
		done, err := doctor.Repair(disk, report, time.Now())
		if err != nil {
			t.Fatalf("%s: repair: %v\n%s", what, err, summary(report))
		}
		if !done.After.Opens {
			t.Fatalf("%s: after the repair:\n%s", what, summary(done.After))
		}
		// What lost entries of the journal were about can't be known: the last offsets of some partition perhaps.
		lostTail := slices.ContainsFunc(done.Lost, func(s string) bool {
			return strings.HasPrefix(s, "whatever the journal held") || strings.HasPrefix(s, "entries of the journal")
		}) ||
			slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Kind == "torn" })
		if b := s.audit(t, disk, lostTail); b.count() > 0 && len(done.Lost) == 0 && !strings.Contains(what, "journal") {
			t.Errorf("%s: %v are missing, and the repair says nothing\n%s", what, b.missing, summary(report))
		}
		if t.Failed() {
			t.Logf("%s\n%s%v", what, summary(report), done.Lost)
		}
	}
	t.Logf("%d harmed, %d found, %d refused as newer", *harmCount, found, refused)
}

// harm damages a file and returns how.
func harm(t testing.TB, disk vfs.FS, name string, all []string, rng *rand.Rand) string {
	t.Helper()
	if _, err := disk.Stat(name); err != nil {
		return "nothing"
	}
	b := get(t, disk, name)
	if len(b) == 0 {
		must(t, disk.Remove(name))
		return "remove " + name
	}
	switch at := rng.IntN(len(b)); rng.IntN(8) {
	case 0:
		must(t, disk.Remove(name))
		return "remove " + name
	case 1:
		put(t, disk, name, b[:at])
		return fmt.Sprintf("cut %s to %d", name, at)
	case 2:
		put(t, disk, name, zero(at/512*512, 4096)(b))
		return fmt.Sprintf("zeros in %s at %d", name, at/512*512)
	case 3:
		other := all[rng.IntN(len(all))]
		if _, err := disk.Stat(other); err != nil || other == name || path.Ext(other) != path.Ext(name) {
			return "nothing"
		}
		swap(t, disk, name, other)
		return fmt.Sprintf("swap %s and %s", name, other)
	default:
		b[at] ^= 1 << rng.IntN(8)
		put(t, disk, name, b)
		return fmt.Sprintf("flip in %s at %d", name, at)
	}
}

//go:build linux && (amd64 || arm64)

// Command checkpointbet measures how much checkpoints delay the journal when both are on one disk
// (docs/adr/0005-checkpoint-writeback.md). One goroutine does what the journal does: it repeatedly writes 4 to 64 KiB
// to a preallocated, recycled file and syncs it. At the same time, 1,000 files, each of which has some KiB in the
// page cache only, are made durable in one of several ways. The time that the journal's writes take is compared with
// the time that they take without the other files.
//
// The ways are measured in turn in each round, and each figure is the median over the rounds. Run the program on an
// idle machine, as root for -loop:
//
//	go run ./tools/checkpointbet -dir /var/tmp -loop ext4,xfs
package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	dir := flag.String("dir", os.TempDir(), "where to measure, and where images are made")
	loop := flag.String("loop", "", "file systems to measure on loop mounts too, comma-separated (needs root and mkfs.*)")
	files := flag.Int("files", 1000, "dirty files")
	dirty := flag.String("dirty-kib", "4,64", "how much of each file is dirty: KiB, comma-separated, one table each")
	rounds := flag.Int("rounds", 5, "rounds")
	only := flag.String("ways", "", "names, separated by semicolons: only these (and quiet)")
	flag.Parse()
	if err := run(*dir, *loop, *files, *dirty, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "checkpointbet:", err)
		os.Exit(1)
	}
}

func run(dir, loop string, files int, dirty string, rounds int, only string) error {
	chosen := ways
	if only != "" {
		names := append(strings.Split(only, ";"), quiet)
		chosen = slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !slices.Contains(names, w.name) })
	}
	fileSystems := []fileSystem{{name: "own disk", dir: dir}}
	if loop != "" {
		for kind := range strings.SplitSeq(loop, ",") {
			p, err := mount(dir, kind)
			if err != nil {
				return err
			}
			defer p.unmount()
			fileSystems = append(fileSystems, p)
		}
	}
	for _, p := range fileSystems {
		for text := range strings.SplitSeq(dirty, ",") {
			var kib int
			if _, err := fmt.Sscan(text, &kib); err != nil {
				return fmt.Errorf("-dirty-kib: %q is no number", text)
			}
			b, err := newBench(p.dir, files, kib<<10)
			if err != nil {
				return err
			}
			err = b.table(fmt.Sprintf("%s, %d files with %d KiB dirty", p.name, files, kib), chosen, rounds)
			b.remove()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// figures are the measurements of one round of one way, or the medians over rounds.
type figures struct {
	checkpoint time.Duration // time until all files were durable
	syncs      float64       // number of syncs of the journal in that time
	// Quantiles and the maximum of the time that a write of the journal and its sync took.
	p50, p99, p999, most time.Duration
}

// summarize returns the figures of a round. took has the times of the journal's writes.
func summarize(checkpoint time.Duration, took []time.Duration) figures {
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[min(int(q*float64(len(took))), len(took)-1)] }
	return figures{checkpoint, float64(len(took)), at(0.5), at(0.99), at(0.999), took[len(took)-1]}
}

func medians(rounds []figures) figures {
	return figures{
		checkpoint: median(rounds, func(f figures) time.Duration { return f.checkpoint }),
		syncs:      median(rounds, func(f figures) float64 { return f.syncs }),
		p50:        median(rounds, func(f figures) time.Duration { return f.p50 }),
		p99:        median(rounds, func(f figures) time.Duration { return f.p99 }),
		p999:       median(rounds, func(f figures) time.Duration { return f.p999 }),
		most:       median(rounds, func(f figures) time.Duration { return f.most }),
	}
}

func median[T cmp.Ordered](rounds []figures, of func(figures) T) T {
	var all []T
	for _, f := range rounds {
		all = append(all, of(f))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// table measures the chosen ways in turn, for a number of rounds, and prints their medians. The first way must be
// quiet.
func (b *bench) table(title string, chosen []way, rounds int) error {
	results := make([][]figures, len(chosen))
	for range rounds {
		for i, w := range chosen {
			f, err := b.measure(w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			results[i] = append(results[i], f)
		}
	}
	fmt.Printf("\n%s; medians of %d rounds; times in µs\n", title, rounds)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "way\tcheckpoint ms\tsyncs\tp50\tp99\tp99.9\tmax\tp99.9 / quiet\tof rounds\t")
	base := medians(results[0])
	for i, w := range chosen {
		// Each round is compared with the quiet way of the same round, because a disk that is slow during a round is
		// slow for both.
		var ratios []figures
		for r, f := range results[i] {
			ratios = append(ratios, figures{syncs: float64(f.p999) / float64(results[0][r].p999)})
		}
		ratio := func(f figures) float64 { return f.syncs }
		slices.SortFunc(ratios, func(x, y figures) int { return cmp.Compare(x.syncs, y.syncs) })
		m := medians(results[i])
		fmt.Fprintf(out, "%s\t%d\t%.0f\t%d\t%d\t%d\t%d\t%.1f\t%.1f–%.1f\t\n", w.name, m.checkpoint.Milliseconds(), m.syncs,
			m.p50.Microseconds(), m.p99.Microseconds(), m.p999.Microseconds(), m.most.Microseconds(),
			float64(m.p999)/float64(base.p999), ratio(ratios[0]), ratio(ratios[len(ratios)-1]))
	}
	return out.Flush()
}

// bench is a directory with a journal file and segment files. Each segment file is in a directory of its own, as in
// the engine.
type bench struct {
	dir       string
	journal   *os.File
	at        int64 // offset of the next write to the journal
	segments  []*os.File
	sizeBytes int64 // current size of each segment
	// dirtyBytes is how many bytes dirtySegments writes to each segment.
	dirtyBytes int
	content    []byte
}

// journalBytes is the size of the journal file.
const journalBytes = 16 << 20

func newBench(dir string, files, dirtyBytes int) (*bench, error) {
	dir, err := os.MkdirTemp(dir, "checkpointbet-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, dirtyBytes: dirtyBytes, content: make([]byte, max(dirtyBytes, 1<<20))}
	rand.New(rand.NewSource(1)).Read(b.content)
	if b.journal, err = os.Create(filepath.Join(dir, "journal")); err != nil {
		return nil, err
	}
	for at := int64(0); at < journalBytes; at += int64(len(b.content)) {
		if _, err := b.journal.WriteAt(b.content, at); err != nil {
			return nil, err
		}
	}
	for i := range files {
		name := filepath.Join(dir, fmt.Sprint(i), "segment")
		if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		f, err := os.Create(name)
		if err != nil {
			return nil, err
		}
		b.segments = append(b.segments, f)
	}
	return b, syncfs(b.journal)
}

func (b *bench) remove() {
	for _, f := range append(b.segments, b.journal) {
		f.Close()
	}
	os.RemoveAll(b.dir)
}

// dirtySegments makes the segments durable and then writes dirtyBytes to each of them.
func (b *bench) dirtySegments() error {
	if int(b.sizeBytes) >= 16*b.dirtyBytes { // start again, so that the disk does not fill up
		for _, f := range b.segments {
			if err := f.Truncate(0); err != nil {
				return err
			}
		}
		b.sizeBytes = 0
	}
	if err := syncfs(b.journal); err != nil {
		return err
	}
	for _, f := range b.segments {
		if _, err := f.WriteAt(b.content[:b.dirtyBytes], b.sizeBytes); err != nil {
			return err
		}
	}
	b.sizeBytes += int64(b.dirtyBytes)
	return nil
}

// measure runs the journal while way w makes the segments durable.
func (b *bench) measure(w way) (figures, error) {
	if err := b.dirtySegments(); err != nil {
		return figures{}, err
	}
	if w.name == quiet {
		if err := syncfs(b.journal); err != nil {
			return figures{}, err
		}
	}
	done := make(chan error, 1)
	start := time.Now()
	var checkpoint time.Duration
	go func() {
		err := w.run(b)
		checkpoint = time.Since(start)
		done <- err
	}()
	took := make([]time.Duration, 0, 1<<16)
	rng := rand.New(rand.NewSource(2))
	for {
		// A write that was under way when the checkpoint ended is counted.
		d, err := b.commit(4<<10 + rng.Intn(60<<10+1)&^511)
		if err != nil {
			return figures{}, err
		}
		took = append(took, d)
		select {
		case err := <-done:
			return summarize(checkpoint, took), err
		default:
		}
	}
}

// commit writes sizeBytes to the journal, syncs it, and returns the time that both took.
func (b *bench) commit(sizeBytes int) (time.Duration, error) {
	if b.at+int64(sizeBytes) > journalBytes {
		b.at = 0
	}
	began := time.Now()
	if _, err := b.journal.WriteAt(b.content[:sizeBytes], b.at); err != nil {
		return 0, err
	}
	if err := fdatasync(b.journal); err != nil {
		return 0, err
	}
	b.at += int64(sizeBytes)
	return time.Since(began), nil
}

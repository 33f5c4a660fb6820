//go:build linux

// Command checkpointbet settles a bet: one disk for journal and checkpoints (docs/adr/0005-checkpoint-writeback.md).
// One goroutine plays the journal: it writes 4 to 64 KiB to a preallocated, recycled file and syncs it, again and again.
// Beside it 1,000 files, each grown by some KiB that are still in the page cache, are made durable in one of several
// ways. What the journal's writes take meanwhile is compared with what they take alone.
//
// Ways are interleaved round by round, and each figure is the median of the rounds'. Run it on an idle machine, as root
// for -loop:
//
//	go run ./checkpointbet -dir /var/tmp -loop ext4,xfs
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
	places := []place{{name: "own disk", dir: dir}}
	if loop != "" {
		for kind := range strings.SplitSeq(loop, ",") {
			p, err := mount(dir, kind)
			if err != nil {
				return err
			}
			defer p.unmount()
			places = append(places, p)
		}
	}
	for _, p := range places {
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

// figures are what one round of one way gave, or medians of several.
type figures struct {
	checkpoint           time.Duration // until all was durable
	syncs                float64       // of the journal meanwhile
	p50, p99, p999, most time.Duration
}

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

// table measures the ways in alternation and prints them.
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
		// The ratio of each round to its own quiet, so that a disk that changes its mind in between is seen.
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

// bench is a directory with a journal file and segment files, each in a directory of its own as the engine has them.
type bench struct {
	dir        string
	journal    *os.File
	at         int64 // where the journal writes next
	segments   []*os.File
	sizeBytes  int64 // of each segment
	dirtyBytes int
	content    []byte
}

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

// soil makes all segments dirty and nothing else.
func (b *bench) soil() error {
	if int(b.sizeBytes) >= 16*b.dirtyBytes { // they start over, so that the disk does not fill up
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

// measure runs the journal for as long as the way takes to make the segments durable.
func (b *bench) measure(w way) (figures, error) {
	if err := b.soil(); err != nil {
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
		// What was under way when the checkpoint ended counts.
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

// commit is the journal's write and sync.
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

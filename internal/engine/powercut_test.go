package engine

import (
	"flag"
	"fmt"
	"log/slog"
	mathrand "math/rand"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

var (
	cutSeed  = flag.Uint64("cut.seed", 0, "seed of TestPowerCuts; 0: a new one each time")
	cutCount = flag.Int("cut.count", 500, "how many power cuts TestPowerCuts makes; CI makes 20000")
)

const (
	cutsPerRound = 20
	cutsPerLife  = 500
)

// Case: while producers, groups, topic changes and retention are at work, the power fails at a random moment. Whatever
// the world had been told by then is there when the directory is opened again, and nothing that nobody sent. Each round
// makes twenty cuts of one run; the last one is real: the next round goes on with what it left. After some hundred cuts
// there is a new directory and a new ledger, so that many cuts take no longer each than few.
func TestPowerCuts(t *testing.T) {
	seed := *cutSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedule of goroutines differs): go test ./internal/engine -run TestPowerCuts -cut.seed=%d -cut.count=%d", seed, *cutCount)
		}
	}()
	var lives sync.WaitGroup
	var done, noted, replayed atomic.Int64
	left := make(chan struct{}, runtime.GOMAXPROCS(0)) // one life per core
	for life := uint64(0); int(life)*cutsPerLife < *cutCount && !t.Failed(); life++ {
		left <- struct{}{}
		lives.Go(func() {
			defer func() { <-left }()
			l := cutLife{t: t, seed: seed + life, disk: vfs.NewMem(), book: &ledger{}}
			l.live(min(cutsPerLife, *cutCount-int(life)*cutsPerLife))
			done.Add(int64(l.cuts))
			noted.Add(int64(l.book.noted))
			replayed.Add(int64(l.replayed))
		})
	}
	lives.Wait()
	if replayed.Load() == 0 {
		t.Error("no cut left anything to replay: the test tests nothing")
	}
	t.Logf("%d cuts, %d promises noted, %d bytes of batches replayed", done.Load(), noted.Load(), replayed.Load())
}

// cutLife is one directory that loses its power again and again.
type cutLife struct {
	t              *testing.T
	seed           uint64
	disk           *vfs.Mem
	book           *ledger
	cuts, replayed int
}

func (l *cutLife) live(count int) {
	rng := rand.New(rand.NewPCG(l.seed, 1))
	chance := mathrand.New(mathrand.NewSource(int64(l.seed)))
	for round := 0; l.cuts < count && !l.t.Failed(); round++ {
		if err := l.round(round, rng, chance); err != nil {
			l.t.Errorf("seed %d, round %d: %v", l.seed, round, err)
		}
	}
}

func (l *cutLife) round(round int, rng *rand.Rand, chance *mathrand.Rand) error {
	e, err := Open(cutConfig(slowSync(l.disk, rng.Uint64())))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	w := &workload{engine: e, ledger: l.book, round: round, seed: l.seed}
	if err := w.start(); err != nil {
		return err
	}
	var cut []powerCut
	for range cutsPerRound - 1 {
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
		told := l.book.moment() // before the clone: all of it must survive
		cut = append(cut, powerCut{l.disk.CrashClone(chance), told})
	}
	told := l.book.moment()
	l.disk.PowerOff()
	next := l.disk.CrashClone(chance)
	w.end()
	e.Close()
	cut = append(cut, powerCut{next.CrashClone(chance), told})

	may := expect(l.book.moment())
	for i, c := range cut {
		entries, broken := c.check(may)
		l.replayed += entries
		for _, what := range broken {
			l.t.Errorf("seed %d, round %d, cut %d: %s", l.seed, round, i, what)
		}
	}
	l.disk, l.cuts = next, l.cuts+len(cut)
	if err := adopt(l.book, l.disk); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	return nil
}

// cutTime is the time of engines that have a cutConfig.
var cutTime = time.Now()

// cutConfig makes everything small, so that a run of milliseconds has checkpoints, rolls, evictions and retention.
func cutConfig(fs vfs.FS) Config {
	return Config{
		FS: fs, JournalFileBytes: 32 << 10, CheckpointBytes: 12 << 10, TailBytes: 8 << 10, SegmentBytes: 4 << 10,
		RetentionInterval: 2 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		// The clock stands still, so that it does not tell leader epochs and producer ids apart: the engine has to remember them.
		Now: func() time.Time { return cutTime },
	}
}

// slowSync is a disk on which a sync takes its time, so that much is under way when the power fails.
func slowSync(disk *vfs.Mem, seed uint64) vfs.FS {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 2))
	return vfs.NewFaulty(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			mu.Lock()
			pause := time.Duration(rng.IntN(150)) * time.Microsecond
			mu.Unlock()
			time.Sleep(pause)
		}
		return nil
	})
}

// powerCut is a disk as a cut left it, and what the world had been told by then.
type powerCut struct {
	disk *vfs.Mem
	told []any
}

// check opens the disk, audits it, appends to it, and sees that a clean close and another open change nothing.
func (c powerCut) check(may expectation) (replayed int, broken []string) {
	e, err := Open(cutConfig(c.disk))
	if err != nil {
		return 0, []string{fmt.Sprintf("I9: it does not open: %v", err)}
	}
	replayed = int(e.segments.appendedBytes.Load())
	broken = audit(e, expect(c.told), may)
	before := dump(e)
	if err := e.Close(); err != nil {
		return replayed, append(broken, fmt.Sprintf("close: %v", err))
	}
	e, err = Open(cutConfig(c.disk))
	if err != nil {
		return replayed, append(broken, fmt.Sprintf("I9: it does not open after a clean close: %v", err))
	}
	defer e.Close()
	if e.segments.appendedBytes.Load() != 0 {
		broken = append(broken, "a clean close left something to replay")
	}
	if after := dump(e); after != before {
		broken = append(broken, fmt.Sprintf("a clean restart changed the log:\nbefore:\n%s\nafter:\n%s", before, after))
	}
	return replayed, broken
}

// dump returns each partition's range, one line each.
func dump(e *Engine) string {
	var b strings.Builder
	for _, t := range e.Topics() {
		for i := range t.Partitions {
			p, err := e.part(Partition{Topic: t.ID, Index: i})
			if err != nil {
				return err.Error()
			}
			fmt.Fprintf(&b, "%s/%d ends at %d\n", t.Name, i, p.end())
		}
	}
	return b.String()
}

// adopt notes what the real cut has left: from now on it stays. What was promised of topics that are gone is forgotten.
func adopt(book *ledger, disk *vfs.Mem) error {
	e, err := Open(cutConfig(disk))
	if err != nil {
		return err
	}
	defer e.Close()
	book.forgetDeleted()
	book.forgetLax()
	for _, t := range e.Topics() {
		book.note(topicMade{t})
		for i := range t.Partitions {
			id := Partition{Topic: t.ID, Index: i}
			got, _, err := readLog(e, id)
			if err != nil {
				return err
			}
			for offset, value := range got {
				book.note(recordKept{recordAt{id, offset, value}})
			}
		}
	}
	return nil
}

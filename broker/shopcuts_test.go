package broker_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	mathrand "math/rand"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/internal/vfs"
)

var (
	cutSeed  = flag.Uint64("cut.seed", 0, "seed of TestShopPowerCuts; 0: a new one each time")
	cutCount = flag.Int("cut.count", 50, "how many power cuts TestShopPowerCuts makes; CI makes 500")
)

const (
	cutsPerDay = 25          // power cuts before a day is worked to its end
	waveOrders = 8           // number of orders that are announced together
	startOps   = 400         // a power cut during the start comes within so many file operations …
	workOps    = 300         // … and one during the work within so many
	patience   = time.Minute // the longest time that a run of the store may take
)

// TestShopPowerCuts runs the online store of examples/shop, and cuts its power again and again, in the midst of its
// work and of its starts: broker, services, importer and story lose power together, after a random number of file
// operations. The store then starts again from what the disk has kept, and goes on.
//
// After each cut, everything that the broker had told its clients must be there: each batch that was acknowledged or
// served, byte for byte, and each committed position. After 25 cuts the store works without cuts until the orders of
// the day are done. Then the facts in the log must be those that follow from the CSV file, every story must have
// settled, and every event must have been handled. The next day begins with an empty disk.
//
// The story's index is on the real disk, where nothing is lost. The indexer builds its index anew after a power cut,
// since the machine then has another boot id; so about every other run begins without an index. The other runs begin
// with the index of the run before, which was closed properly after the cut; it contains only records that were served
// to it, so that it must not contain more than the log.
func TestShopPowerCuts(t *testing.T) {
	seed := *cutSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedule of goroutines differs): go test ./broker -run TestShopPowerCuts -cut.seed=%d -cut.count=%d; one day: its seed, and -cut.count=%d",
				seed, *cutCount, cutsPerDay)
		}
	}()
	batch, want := carriedDay(t)
	var days sync.WaitGroup
	var sum dayCounts
	var mu sync.Mutex
	free := make(chan struct{}, runtime.GOMAXPROCS(0)) // limits the days that run at the same time to one per core
	for n := 0; n*cutsPerDay < *cutCount && !t.Failed(); n++ {
		free <- struct{}{}
		days.Go(func() {
			defer func() { <-free }()
			d := newDay(t, seed+uint64(n), batch.Invoices, want)
			d.run(min(cutsPerDay, *cutCount-n*cutsPerDay))
			mu.Lock()
			defer mu.Unlock()
			sum.add(d.dayCounts)
		})
	}
	days.Wait()
	t.Logf("%d power cuts, %d of them in the work; %d days done; %d batches acknowledged, %d promises checked", sum.cuts, sum.inWork, sum.done, sum.acks, sum.promises)
	if !t.Failed() && sum.inWork*4 < sum.cuts {
		t.Errorf("only %d of %d cuts fell into the work: the test proves little", sum.inWork, sum.cuts)
	}
}

// day is one disk on which the store works through the orders of a day, with power cuts.
type day struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	chance   *mathrand.Rand
	disk     *vfs.Mem
	history  *history
	dir      string // parent directory of the story's indexes
	indexes  int    // number of the present index; increased to begin a new one
	invoices []*input.Invoice
	taken    int // number of invoices that are certainly announced
	want     books
	dayCounts
}

// dayCounts are the figures of a day: power cuts, those of them after the start, days done, acknowledged batches, and
// promises compared.
type dayCounts struct{ cuts, inWork, done, acks, promises int }

// add adds the figures o.
func (c *dayCounts) add(o dayCounts) {
	c.cuts, c.inWork, c.done = c.cuts+o.cuts, c.inWork+o.inWork, c.done+o.done
	c.acks, c.promises = c.acks+o.acks, c.promises+o.promises
}

// newDay returns a day with an empty disk.
func newDay(t *testing.T, seed uint64, invoices []*input.Invoice, want books) *day {
	return &day{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), chance: mathrand.New(mathrand.NewSource(int64(seed))),
		disk: vfs.NewMem(), history: newHistory(), dir: t.TempDir(), invoices: invoices, want: want,
	}
}

// run starts the store and cuts its power until there have been enough cuts and the orders are done. If the orders are
// done before, it begins again with an empty disk.
func (d *day) run(cuts int) {
	for !d.t.Failed() {
		done := d.runUntilCut(d.cuts < cuts)
		switch {
		case done && d.cuts == cuts:
			d.acks, d.promises = d.history.counts()
			return
		case done:
			d.disk, d.history, d.taken, d.indexes = vfs.NewMem(), newHistory(), 0, d.indexes+1
		}
	}
}

// runUntilCut starts the store and has it work until the power fails or, and then done is true, until the orders are
// done. The power fails only if mayBeCut is true.
func (d *day) runUntilCut(mayBeCut bool) (done bool) {
	power := newPower(d.disk, d.rng.Uint64())
	inStart := d.rng.IntN(2) == 0
	if mayBeCut && inStart {
		power.cutAfter(1 + d.rng.Int64N(startOps))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-power.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	s, err := openStore(ctx, d.config(power.fs), d.index(), d.history)
	started := err == nil
	if started {
		if mayBeCut && !inStart {
			power.cutAfter(1 + d.rng.Int64N(workOps))
		}
		err = d.work(ctx, s)
	}
	if cut := !power.stay(); cut {
		s.crash()
		d.disk = d.disk.CrashClone(d.chance)
		d.cuts++
		if started {
			d.inWork++
		}
		if d.rng.IntN(2) == 0 {
			d.indexes++
		}
		d.checkHistory("after a power cut")
		return false
	}
	if err != nil {
		d.errorf("I8: with the power on, after %d cuts: %v", d.cuts, err)
		s.crash()
		return true
	}
	d.judge(ctx, s)
	if err := s.close(); err != nil {
		d.errorf("close: %v", err)
	}
	d.checkHistory("after a close in good order")
	d.done++
	return true
}

// work announces the orders in waves, and waits until all stories have settled: after the last wave, and at random also
// between waves.
func (d *day) work(ctx context.Context, s *store) error {
	for d.taken < len(d.invoices) {
		upTo := min(d.taken+waveOrders, len(d.invoices))
		if err := s.take(ctx, d.invoices[:upTo]); err != nil {
			return err
		}
		d.taken = upTo
		if d.rng.IntN(2) == 0 {
			if err := s.indexer.WaitSettled(ctx); err != nil {
				return err
			}
		}
	}
	return s.indexer.WaitSettled(ctx)
}

// judge compares the log of a finished day, read by a client of its own, and the store's own figures with the CSV file.
func (d *day) judge(ctx context.Context, s *store) {
	wrong, err := d.settled(ctx, s)
	if err != nil {
		d.errorf("I8: %v", err)
		return
	}
	d.complain("when the day was done", wrong)
	stories := len(d.want["shop.order.placed"]) + len(d.want["shop.order.refused"]) + len(d.want["shop.return.accepted"])
	if stats := s.indexer.Index().Stats(); stats.Open != 0 || stats.Settled != int64(stories) {
		d.errorf("of %d stories the index has %d settled and %d open", stories, stats.Settled, stats.Open)
	}
	if got, want := s.revenue.Pence(), d.want.sum("shop.payment.captured"); got != want {
		d.errorf("the view of the revenue comes to %d pence, and the file to %d", got, want)
	}
}

// settled reads the log until every event in it is handled, at most for a quarter of patience, and judges it. The wait
// is needed although all stories have settled: if a power cut has made a handler emit a fact twice, the story settles
// when the first copy is handled, and the mark of the second may come later.
func (d *day) settled(ctx context.Context, s *store) (wrong []string, err error) {
	for until := time.Now().Add(patience / 4); ; time.Sleep(10 * time.Millisecond) {
		a, err := readAccount(ctx, embedded.Broker(s.broker))
		if err != nil {
			return nil, err
		}
		if len(a.open()) == 0 || time.Now().After(until) {
			return a.judge(d.want), nil
		}
	}
}

// checkHistory opens a broker on a copy of what the disk has kept, and compares its content with the history. when says
// at which moment, for the messages.
func (d *day) checkHistory(when string) {
	b, err := broker.Open(d.config(d.disk.CrashClone(d.chance)))
	if err != nil {
		d.errorf("I9: %s it does not open: %v", when, err)
		return
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	is, err := readLogContents(ctx, embedded.Broker(b))
	if err != nil {
		d.errorf("I8: %s it can't be read: %v", when, err)
		return
	}
	d.complain(when, d.history.check(is))
}

// config returns a configuration with small sizes, so that each run takes checkpoints and begins new segments.
func (d *day) config(fs vfs.FS) broker.Config {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TIDINGS_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return broker.Config{Memory: true, Logger: log, CheckpointBytes: 64 << 10, SegmentBytes: 32 << 10, TailBytes: 64 << 10}.On(fs)
}

// index returns the directory of the story's present index.
func (d *day) index() string { return filepath.Join(d.dir, fmt.Sprint(d.indexes)) }

// complain fails the test with at most ten of the faults in broken.
func (d *day) complain(when string, broken []string) {
	for i, what := range broken {
		if i == 10 {
			d.errorf("%s: and %d more", when, len(broken)-i)
			return
		}
		d.errorf("%s: %s", when, what)
	}
}

// errorf fails the test with a message that has the seed of the day and the number of cuts.
func (d *day) errorf(format string, args ...any) {
	d.t.Errorf("day of seed %d, %d cuts: %s", d.seed, d.cuts, fmt.Sprintf(format, args...))
}

// power is a disk whose power fails before a chosen file operation.
type power struct {
	fs   *vfs.Faulty
	gone chan struct{} // closed when the power fails
	at   atomic.Int64  // number of the operation before which the power fails
	sure atomic.Bool   // set when the power has failed, or by stay
}

// newPower returns a power that does not fail until cutAfter is called. Each sync takes up to 150 µs, so that much is
// in flight when the power fails.
func newPower(disk *vfs.Mem, seed uint64) *power {
	p := &power{gone: make(chan struct{})}
	p.at.Store(math.MaxInt64)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 2))
	p.fs = vfs.NewFaulty(disk, func(op vfs.Op) error {
		if op.Nth >= p.at.Load() && p.sure.CompareAndSwap(false, true) {
			disk.PowerOff()
			close(p.gone)
		}
		if op.Kind == vfs.OpSync {
			mu.Lock()
			pause := time.Duration(rng.IntN(150)) * time.Microsecond
			mu.Unlock()
			time.Sleep(pause)
		}
		return nil
	})
	return p
}

// cutAfter makes the power fail after ops further operations.
func (p *power) cutAfter(ops int64) { p.at.Store(p.fs.Count() + ops) }

// stay prevents the power from failing. It returns false if the power has failed.
func (p *power) stay() bool { return p.sure.CompareAndSwap(false, true) }

// carriedDay returns the orders of the day that is embedded in the shop's package input, and the books that must follow
// from them.
func carriedDay(t *testing.T) (*input.Batch, books) {
	t.Helper()
	batch, err := input.Read(bytes.NewReader(input.CarriedDay), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := readBooks(input.CarriedDay, payment.DefaultDeclineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	return batch, want
}

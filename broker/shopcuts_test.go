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
	cutsPerDay = 25
	waveOrders = 8   // announced at a time
	startOps   = 400 // operations on files within which a cut comes that is to meet the start …
	workOps    = 300 // … or the work
	patience   = time.Minute
)

// Case: the online store of examples/shop loses its power in the midst of its work, and in the midst of its starts,
// again and again: broker, services, importer and story at once, after a random number of operations on files. It starts
// again on what the disk has kept and goes on. After each cut, everything that the broker had told its clients is there:
// each batch that was acknowledged or served, byte for byte, and each position. After 25 cuts it is left in peace until
// the day's orders are done: then the books are those of the CSV, every story has settled and nobody owes anything. And
// the next day begins on an empty disk.
//
// The story's index is on the real disk, where nothing is lost. By its own rule it is built again after a power cut (the
// machine has another boot id then): every other life begins with none. The others begin with the one before, closed in
// good order when the power went: it knows no more than was served to it, so that it must not know more than the log.
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
	batch, err := input.Read(bytes.NewReader(input.CarriedDay), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := readBooks(input.CarriedDay, payment.DefaultDeclineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	var days sync.WaitGroup
	var sum dayCounts
	var mu sync.Mutex
	free := make(chan struct{}, runtime.GOMAXPROCS(0)) // one day per core
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
	t.Logf("%d power cuts, %d of them in the work; %d days done; %d batches acknowledged, %d promises kept", sum.cuts, sum.inWork, sum.done, sum.acks, sum.promises)
	if !t.Failed() && sum.inWork*4 < sum.cuts {
		t.Errorf("only %d of %d cuts fell into the work: the test proves little", sum.inWork, sum.cuts)
	}
}

// day is one disk on which the store works through the orders of a day.
type day struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	chance   *mathrand.Rand
	disk     *vfs.Mem
	book     *ledger
	dir      string // of the story's index
	indexes  int    // how many there were
	invoices []*input.Invoice
	taken    int // invoices that are announced for certain
	want     books
	dayCounts
}

type dayCounts struct{ cuts, inWork, done, acks, promises int }

func (c *dayCounts) add(o dayCounts) {
	c.cuts, c.inWork, c.done = c.cuts+o.cuts, c.inWork+o.inWork, c.done+o.done
	c.acks, c.promises = c.acks+o.acks, c.promises+o.promises
}

func newDay(t *testing.T, seed uint64, invoices []*input.Invoice, want books) *day {
	return &day{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), chance: mathrand.New(mathrand.NewSource(int64(seed))),
		disk: vfs.NewMem(), book: newLedger(), dir: t.TempDir(), invoices: invoices, want: want,
	}
}

// run has the store live and die until it has had its cuts and the day is done. If it is done before, another begins.
func (d *day) run(cuts int) {
	for !d.t.Failed() {
		done := d.life(d.cuts < cuts)
		switch {
		case done && d.cuts == cuts:
			d.acks, d.promises = d.book.counts()
			return
		case done:
			d.disk, d.book, d.taken, d.indexes = vfs.NewMem(), newLedger(), 0, d.indexes+1
		}
	}
}

// life starts the store on the disk and has it work until the power fails, or, done, until nothing is left to do.
func (d *day) life(mayBeCut bool) (done bool) {
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
	s, err := openStore(ctx, d.config(power.fs), d.index(), d.book)
	started := err == nil
	if started {
		if mayBeCut && !inStart {
			power.cutAfter(1 + d.rng.Int64N(workOps))
		}
		err = d.work(ctx, s)
	}
	if cut := !power.stay(); cut {
		s.die()
		d.disk = d.disk.CrashClone(d.chance)
		d.cuts++
		if started {
			d.inWork++
		}
		if d.rng.IntN(2) == 0 {
			d.indexes++
		}
		d.audit("after a power cut")
		return false
	}
	if err != nil {
		d.errorf("I8: with the power on, after %d cuts: %v", d.cuts, err)
		s.die()
		return true
	}
	d.judge(ctx, s)
	if err := s.close(); err != nil {
		d.errorf("close: %v", err)
	}
	d.audit("after a close in good order")
	d.done++
	return true
}

// work takes orders in, wave by wave, as long as there are any, and waits until all stories have settled, now and then
// before the next wave.
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

// judge compares a day that is done with the CSV: the log, read by a client of its own, and what the store itself says.
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

// settled judges the log when every record in it is handled, or after long enough. A fact that a cut had emitted twice settles
// its story when the first of the two is handled; the mark of the second may still be under way.
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

// audit opens what the disk has, in a copy, and compares it with what the world was told.
func (d *day) audit(when string) {
	b, err := broker.Open(d.config(d.disk.CrashClone(d.chance)))
	if err != nil {
		d.errorf("I9: %s it does not open: %v", when, err)
		return
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	is, err := look(ctx, embedded.Broker(b))
	if err != nil {
		d.errorf("I8: %s it can't be read: %v", when, err)
		return
	}
	d.complain(when, d.book.audit(is))
}

// config makes everything small, so that each life has checkpoints and rolls.
func (d *day) config(fs vfs.FS) broker.Config {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TIDINGS_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return broker.Config{Memory: true, Logger: log, CheckpointBytes: 64 << 10, SegmentBytes: 32 << 10, TailBytes: 64 << 10}.On(fs)
}

func (d *day) index() string { return filepath.Join(d.dir, fmt.Sprint(d.indexes)) }

func (d *day) complain(when string, broken []string) {
	for i, what := range broken {
		if i == 10 {
			d.errorf("%s: and %d more", when, len(broken)-i)
			return
		}
		d.errorf("%s: %s", when, what)
	}
}

func (d *day) errorf(format string, args ...any) {
	d.t.Errorf("day of seed %d, %d cuts: %s", d.seed, d.cuts, fmt.Sprintf(format, args...))
}

// power is a disk on which the power fails at an operation.
type power struct {
	fs   *vfs.Faulty
	gone chan struct{} // closed when it fails
	at   atomic.Int64  // before which operation
	sure atomic.Bool   // it has failed, or it stays
}

// newPower has the disk take its time over a sync, so that much is under way when the power fails.
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

// cutAfter has the power fail so many operations from now.
func (p *power) cutAfter(ops int64) { p.at.Store(p.fs.Count() + ops) }

// stay says that the power fails no more; false: it has failed.
func (p *power) stay() bool { return p.sure.CompareAndSwap(false, true) }

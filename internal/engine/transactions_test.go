package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// transactor makes transactions by one transactional id, one after the other, until something fails: some batches in
// random partitions, a position of its group, and an end. All its values say of which transaction they are, and how many
// batches that has.
type transactor struct {
	e     *Engine
	id    string
	v2    bool
	parts []Partition
	rng   *rand.Rand
	told  func(any)
}

// promise is what a transactor was told: how a transaction ended.
type promise struct {
	id     string
	txn    int
	commit bool
}

// asked is the end that a transactor is about to ask for.
type asked promise

// batchIn returns a batch of one record in a transaction.
func batchIn(p txn.Producer, sequence int32, value string) []byte {
	var b batch.Builder
	b.Producer(p.ID, p.Epoch, sequence)
	b.Transactional(false)
	b.Add(time.Now().UnixMilli(), []byte("k"), []byte(value))
	return b.Batch()
}

func (x *transactor) produce(p txn.Producer, to Partition, sequence int32, value string) error {
	done := make(chan Appended, 1)
	x.e.AppendInTransaction(to, batchIn(p, sequence, value), nil, Transaction{ID: x.id, Begin: x.v2}, func(a Appended) { done <- a })
	x.e.CommitSoon()
	return (<-done).Err
}

// run makes transactions from the number from on.
func (x *transactor) run(ctx context.Context, from int) error {
	p, err := x.e.InitTransactions(ctx, x.id, time.Minute, txn.NoProducer)
	if err != nil {
		return err
	}
	sequence := map[Partition]int32{}
	for n := from; ctx.Err() == nil; n++ {
		count, commit := 1+x.rng.IntN(5), x.rng.IntN(3) > 0
		for i := range count {
			to := x.parts[x.rng.IntN(len(x.parts))]
			if !x.v2 {
				if err := x.e.AddToTransaction(ctx, x.id, p, []Partition{to}); err != nil {
					return err
				}
			}
			if err := x.produce(p, to, sequence[to], fmt.Sprintf("%s %d %d %d", x.id, n, i, count)); err != nil {
				return err
			}
			sequence[to]++
		}
		if !x.v2 {
			if err := x.e.AddToTransaction(ctx, x.id, p, nil, x.id); err != nil {
				return err
			}
		}
		at := group.TopicPartition{Topic: "t"}
		r := group.CommitRequest{Group: x.id, Generation: -1, Offsets: map[group.TopicPartition]group.Committed{at: {Offset: int64(n)}}}
		if err := x.e.CommitInTransaction(ctx, Transaction{ID: x.id, Begin: x.v2}, p, r)[at]; err != nil {
			return err
		}
		x.told(asked{x.id, n, commit})
		next, err := x.e.EndTransaction(ctx, x.id, p, commit, x.v2)
		if err != nil {
			return err
		}
		x.told(promise{x.id, n, commit})
		if p = next; x.v2 {
			clear(sequence)
		}
	}
	return nil
}

// committedValues reads what is committed in a partition, as a client does.
func committedValues(e *Engine, id Partition) (values []string, err error) {
	var aborted []AbortedTransaction
	for offset := int64(0); ; {
		got := e.Fetch(noWait, FetchRequest{Committed: true, MaxBytes: 2000, Partitions: []FetchPartition{
			{Partition: id, Offset: offset, MaxBytes: 2000, LeaderEpoch: -1}}}, nil)[0]
		if got.Err != nil {
			return nil, got.Err
		}
		if len(got.Records) == 0 {
			if offset != got.LastStable {
				return nil, fmt.Errorf("nothing at %d, stable below %d", offset, got.LastStable)
			}
			return values, nil
		}
		aborted = append(aborted, got.Aborted...)
		for _, run := range got.Records {
			for v := range batch.Split(run) {
				offset = v.NextOffset()
				gone := slices.ContainsFunc(aborted, func(a AbortedTransaction) bool {
					return a.ProducerID == v.ProducerID() && a.First <= v.BaseOffset() && v.BaseOffset() < a.Last
				})
				if v.Control() || gone {
					continue
				}
				for r, err := range batch.Records(v, 1<<20) {
					if err != nil {
						return nil, err
					}
					values = append(values, string(r.Value))
				}
			}
		}
	}
}

// auditTransactions opens a disk as a power cut has left it, and returns what is wrong with its transactions. told is what
// clients had been told by then, and may what was noted at any time.
func auditTransactions(disk *vfs.Mem, told []any, may []any) (broken []string, err error) {
	e, err := Open(cutConfigTransactions(disk))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	wrong := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	var parts []Partition
	for _, t := range e.Topics() {
		for i := range t.Partitions {
			parts = append(parts, Partition{Topic: t.ID, Index: i})
		}
	}
	seen := map[promise]int{} // records that are visible
	want := map[promise]int{}
	look := func() {
		clear(seen)
		for _, id := range parts {
			values, err := committedValues(e, id)
			if err != nil {
				wrong("partition %v: %v", id, err)
			}
			for _, v := range values {
				p, i, count := promise{commit: true}, 0, 0
				fmt.Sscan(v, &p.id, &p.txn, &i, &count)
				seen[p]++
				want[p] = count
			}
		}
	}
	positions := func() map[string]int64 {
		all := map[string]int64{}
		for _, d := range e.Transactions() {
			at, _ := e.FetchOffsets(d.ID, nil)
			all[d.ID] = -1
			for _, c := range at {
				all[d.ID] = c.Offset
			}
		}
		return all
	}
	// The instance that comes next ends what is open.
	for _, d := range e.Transactions() {
		if _, err := e.InitTransactions(noWait, d.ID, time.Minute, txn.NoProducer); err != nil {
			wrong("%s: %v", d.ID, err)
		}
		if u := e.UnstableOffsets(d.ID); len(u) > 0 {
			wrong("%s: positions are undecided when nothing is open: %v", d.ID, u)
		}
	}
	for _, id := range parts {
		p, _ := e.part(id)
		if stable, end := p.lastStable(), p.end(); stable != end {
			wrong("partition %v is stable below %d, and ends at %d", id, stable, end)
		}
	}
	look()
	last := map[string]int{}
	for p, n := range seen {
		if n != want[p] {
			wrong("torn: %d of %d records of transaction %d of %s", n, want[p], p.txn, p.id)
		}
		if !slices.Contains(may, any(asked(p))) {
			wrong("transaction %d of %s is committed, and nobody asked for it", p.txn, p.id)
		}
		last[p.id] = max(last[p.id], p.txn)
	}
	for _, what := range told {
		if p, ok := what.(promise); ok && p.commit != (seen[promise{p.id, p.txn, true}] > 0) {
			wrong("transaction %d of %s: told that it is committed: %v, visible: %d", p.txn, p.id, p.commit, seen[promise{p.id, p.txn, true}])
		}
	}
	for id, at := range positions() {
		if n, any := last[id]; any && at != int64(n) || !any && at != -1 {
			wrong("the position of %s is %d, its last transaction %d", id, at, n)
		}
	}
	return broken, nil
}

func cutConfigTransactions(fs vfs.FS) Config {
	c := cutConfig(fs)
	c.RetentionInterval = time.Hour
	return c
}

// TestTransactionsInPowerCuts cuts the power while transactions by both protocols are made. After each cut every transaction
// is there whole or not at all, with its position; what clients were told of its end holds; and the last stable offset
// gets to the end of each log.
func TestTransactionsInPowerCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Log("seed", seed)
		}
	}()
	rng, chance := rand.New(rand.NewPCG(seed, 1)), mathrand.New(mathrand.NewSource(int64(seed)))
	disk, book := vfs.NewMem(), &ledger{}
	cuts := max(*cutCount/10, 20)
	for done, round := 0, 0; done < cuts && !t.Failed(); round++ {
		e, err := Open(cutConfigTransactions(slowSync(disk, rng.Uint64())))
		if err != nil {
			t.Fatal(err)
		}
		var parts []Partition
		if round == 0 {
			makeTopic(t, e, "t", 4)
		}
		for i := range int32(4) {
			topic, _ := e.Topic("t")
			parts = append(parts, Partition{Topic: topic.ID, Index: i})
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{}, 1) // a transaction was ended in this round
		told := func(what any) {
			book.note(what)
			if _, ok := what.(promise); ok {
				notify(ended)
			}
		}
		var running sync.WaitGroup
		for n := range 4 {
			x := transactor{e: e, id: fmt.Sprint("id", n), v2: n%2 == 0, parts: parts, rng: rand.New(rand.NewPCG(rng.Uint64(), 3)), told: told}
			running.Go(func() { x.run(ctx, round*1_000_000) })
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("no transaction ends")
		}
		var clones []powerCut
		for range 10 {
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
			told := book.moment()
			clones = append(clones, powerCut{disk.CrashClone(chance), told})
		}
		last := book.moment()
		disk.PowerOff()
		next := disk.CrashClone(chance)
		stop()
		running.Wait()
		e.Close()
		clones = append(clones, powerCut{next.CrashClone(chance), last})
		may := book.moment()
		for i, c := range clones {
			broken, err := auditTransactions(c.disk, c.told, may)
			if err != nil {
				t.Errorf("round %d, cut %d: it does not open: %v", round, i, err)
			}
			for _, what := range broken {
				t.Errorf("round %d, cut %d: %s", round, i, what)
			}
		}
		done += len(clones)
		disk = next
	}
	ends := 0
	for _, what := range book.moment() {
		if _, ok := what.(promise); ok {
			ends++
		}
	}
	t.Logf("%d cuts, %d transactions ended", cuts, ends)
}

// TestTransactionTimesOut has the broker abort a transaction whose producer is gone, by its timer.
func TestTransactionTimesOut(t *testing.T) {
	e := openMem(t, nil)
	part := Partition{Topic: makeTopic(t, e, "t", 1).ID}
	p, err := e.InitTransactions(noWait, "tx", 50*time.Millisecond, txn.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	x := transactor{e: e, id: "tx", v2: true}
	if err := x.produce(p, part, 0, "left"); err != nil {
		t.Fatal(err)
	}
	got := e.Fetch(t.Context(), FetchRequest{Committed: true, MaxBytes: 2000, MinBytes: 1, MaxWait: 10 * time.Second, Partitions: []FetchPartition{
		{Partition: part, MaxBytes: 2000, LeaderEpoch: -1}}}, nil)[0]
	if got.LastStable != 2 || got.HighWatermark != 2 || len(got.Aborted) != 1 {
		t.Fatalf("%+v", got)
	}
	if err := x.produce(p, part, 1, "late"); !errors.Is(err, txn.ErrInvalidProducerEpoch) {
		t.Fatalf("a late batch: %v", err)
	}
}

// TestTransactionsAreRefused checks what may not be in a transaction, and what only a transaction may have.
func TestTransactionsAreRefused(t *testing.T) {
	e := openMem(t, nil)
	memory, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "m", Partitions: 1, Configs: map[string]string{"tidings.durability": "memory"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.InitTransactions(noWait, "tx", time.Minute, txn.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	x := transactor{e: e, id: "tx", v2: true}
	if err := x.produce(p, Partition{Topic: memory.ID}, 0, "x"); !errors.Is(err, errNotInMemory) {
		t.Errorf("in memory mode: %v", err)
	}
	part := Partition{Topic: makeTopic(t, e, "t", 1).ID}
	if err := appendNow(e, part, batchIn(p, 0, "x")).Err; !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("without a transactional id: %v", err)
	}
	done := make(chan Appended, 1)
	e.AppendInTransaction(part, newBatch(p.ID, 0, "x"), nil, Transaction{ID: "tx", Begin: true}, func(a Appended) { done <- a })
	if err := (<-done).Err; !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("a batch that is not transactional: %v", err)
	}
	// Case: a topic of an open transaction is deleted; the rest of the transaction is committed.
	other := makeTopic(t, e, "other", 1)
	for i, id := range []Partition{part, {Topic: other.ID}} {
		if err := x.produce(p, id, 0, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.DeleteTopic(noWait, other.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.EndTransaction(noWait, "tx", p, true, true); err != nil {
		t.Fatal(err)
	}
	if got, err := committedValues(e, part); err != nil || !slices.Equal(got, []string{"0"}) {
		t.Errorf("%v, %v", got, err)
	}
	if d, _ := e.DescribeTransaction("tx"); d.State != "CompleteCommit" {
		t.Errorf("%+v", d)
	}
}

// TestTransactionOnAFullDisk fills the journal's disk while a transaction is open: it can't be ended, it is not torn, and
// when there is room again, it is committed.
func TestTransactionOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	fs := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if full.Load() && strings.HasPrefix(op.Name, datadir.JournalDir) && (op.Kind == vfs.OpAllocate || op.Kind == vfs.OpCreate) {
			return syscall.ENOSPC
		}
		return nil
	})
	c := fullConfig(fs)
	c.FullDiskRetry = time.Hour
	e := openWith(t, c)
	topic := makeTopic(t, e, "t", 2)
	p, err := e.InitTransactions(noWait, "tx", time.Minute, txn.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	x := transactor{e: e, id: "tx", v2: true}
	parts := []Partition{{Topic: topic.ID}, {Topic: topic.ID, Index: 1}}
	for _, id := range parts {
		if err := x.produce(p, id, 0, "x"); err != nil {
			t.Fatal(err)
		}
	}
	full.Store(true)
	ballast := Partition{Topic: makeTopic(t, e, "ballast", 1).ID}
	for e.journal.Full() == nil {
		if err := appendNow(e, ballast, newBatch(-1, -1, string(make([]byte, 10_000)))).Err; err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := e.EndTransaction(noWait, "tx", p, true, true); !errors.Is(err, ErrFull) {
			t.Fatalf("the end on a full disk: %v", err)
		}
		if err := x.produce(p, parts[0], 1, "y"); !errors.Is(err, ErrFull) {
			t.Fatalf("a batch on a full disk: %v", err)
		}
	}
	full.Store(false)
	if err := e.maintenance.runTask(t.Context(), e.maintenance.leaveDiskFull); err != nil || e.Full() != nil {
		t.Fatal(err, e.Full())
	}
	if err := x.produce(p, parts[0], 1, "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.EndTransaction(noWait, "tx", p, true, true); err != nil {
		t.Fatal(err)
	}
	got := map[int32][]string{}
	for _, id := range parts {
		if got[id.Index], err = committedValues(e, id); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[int32][]string{0: {"x", "y"}, 1: {"x"}}; !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
}

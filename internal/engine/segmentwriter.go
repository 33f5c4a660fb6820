package engine

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// segmentWriter writes recent batches to segment files and keeps their memory, over all partitions, within a budget. A
// batch that was appended is at first only in memory and in the journal. After the segment writer has written it to a
// segment file it stays in memory for the consumers that read the newest records, until the segment writer evicts it,
// oldest first. One goroutine, run, writes and evicts; it sleeps until enough was appended. Appends wait when there is
// too much in memory, or when checkpoints do not keep up.
//
// Invariant: appendedBytes + correction is the size of what the partitions' logs hold in memory, or slightly more. An
// append only adds to appendedBytes, without a lock; flushAndEvict computes correction from the sizes that the logs
// report.
type segmentWriter struct {
	engine *Engine
	due    chan struct{} // has space for one value, which makes run call flushAndEvict

	appendedBytes atomic.Int64 // size of the batches that became durable since Open, and of those that Open has replayed
	// correction is what must be added to appendedBytes for the size in memory. It is negative once batches were
	// evicted.
	correction  atomic.Int64
	runAtBytes  atomic.Int64 // value of appendedBytes at which the next flushAndEvict is due
	budgetBytes atomic.Int64 // how much the logs may hold in memory after flushAndEvict; set by plan
	// maxBytes is how much the logs may hold in memory before appends wait: budgetBytes and what may be appended while
	// run works. plan sets it.
	maxBytes atomic.Int64

	mu       sync.Mutex // guards released
	changed  sync.Cond  // uses mu; signalled when the condition that appends wait for may have changed
	released bool       // the engine is fenced or closed, so that no append may wait any more
}

// init makes w ready for use by the engine e. It starts no goroutine.
func (w *segmentWriter) init(e *Engine) {
	w.engine = e
	w.due = make(chan struct{}, 1)
	w.changed.L = &w.mu
	w.plan(nil)
}

// How plan chooses the budget. While consumers read the newest records, the budget is Config.TailBytes. Otherwise it is
// TailBytes/unreadShare, or minBudgetBytes for each partition if that is more, so that writes with many partitions are
// not too small.
const (
	unreadAfter    = 10 * time.Second // consumers are taken to be gone if none has read the newest records for this time
	unreadShare    = 16
	minBudgetBytes = 32 << 10 // for each partition
)

// plan sets the budget until the next flushAndEvict, and how much must be appended before the next flushAndEvict is
// due. A large amount makes each write large, in comparison with which the cost of a look at all partitions is small.
// A small amount keeps short the time for which a commit may have to wait until the disk has done these writes. The
// budget does not include the batches that are appended while run works.
func (w *segmentWriter) plan(parts []*part) {
	var lastRead int64
	for _, p := range parts {
		lastRead = max(lastRead, p.log.TailReadAt())
	}
	total := w.engine.config.TailBytes
	budget := total
	if time.Since(time.Unix(0, lastRead)) > unreadAfter {
		budget = min(max(total/unreadShare, int64(len(parts))*minBudgetBytes), total)
	}
	step := max(min(max(total/32, int64(len(parts))*stepBytesPerPartition), budget/2), 1)
	w.budgetBytes.Store(budget)
	w.maxBytes.Store(budget + max(total/8, 2*step))
	w.runAtBytes.Store(w.appendedBytes.Load() + step)
}

// stepBytesPerPartition is the smallest number of bytes, per partition, that are appended between two calls of
// flushAndEvict.
const stepBytesPerPartition = 4 << 10

// recordAppended counts sizeBytes of batches that were added to the logs' memory, and wakes run if that makes a
// flushAndEvict due. It does not block.
func (w *segmentWriter) recordAppended(sizeBytes int64) {
	if w.appendedBytes.Add(sizeBytes) >= w.runAtBytes.Load() {
		notify(w.due)
	}
}

// admit blocks while the logs hold too much in memory or checkpoints are behind, which means that segment files cannot
// be written or synced as fast as the journal. When the engine is fenced or closed it returns at once. Its error is not
// nil only if the disk is full.
func (w *segmentWriter) admit() error {
	if w.mustWait() {
		w.waitWhile(w.mustWait)
	}
	return w.engine.Full()
}

// mustWait reports whether appends must wait.
func (w *segmentWriter) mustWait() bool { return w.isOverfull() || w.engine.maintenance.isBehind() }

// admitReplayed does for replayed batches what admit does for appends. It ignores checkpoints, since none is taken
// during recovery.
func (w *segmentWriter) admitReplayed() {
	if w.isOverfull() {
		w.waitWhile(w.isOverfull)
	}
}

// isOverfull reports whether the logs hold more than maxBytes in memory.
func (w *segmentWriter) isOverfull() bool {
	return w.appendedBytes.Load()+w.correction.Load() > w.maxBytes.Load()
}

// waitWhile blocks while condition returns true, the disk is not full, and the engine is neither fenced nor closed. A
// goroutine that may make one of these untrue must call notifyWaiters or unblockForGood.
func (w *segmentWriter) waitWhile(condition func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.released && condition() && w.engine.Full() == nil {
		if w.isOverfull() {
			notify(w.due) // the last flushAndEvict may have failed, or batches that were counted may have been refused
		}
		w.changed.Wait()
	}
}

// notifyWaiters wakes the appends that wait, which then check again whether they may go on.
func (w *segmentWriter) notifyWaiters() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Broadcast()
}

// unblockForGood wakes all appends that wait and makes later calls of admit return at once.
func (w *segmentWriter) unblockForGood() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released = true
	w.changed.Broadcast()
}

// run is the goroutine of w. It returns when the engine closes or is fenced.
func (w *segmentWriter) run() {
	e := w.engine
	for {
		select {
		case <-e.life.closing:
			return
		case <-w.due:
		}
		if err := w.flushAndEvict(); err != nil {
			e.onStorageError(err)
		}
		if e.Err() != nil {
			return
		}
	}
}

// largeWriteBytes is the size of one partition's unwritten batches from which flushAndEvict always writes them. Smaller
// amounts wait for more while the budget allows that, so that a thousand partitions which grow evenly need far fewer
// write calls.
const largeWriteBytes = 256 << 10

// flushAndEvict writes unwritten batches to segment files, those of the partition with the most first, until no
// partition has largeWriteBytes or more and all together have no more than the budget. Then, if the logs hold more than
// the budget in memory, it evicts batches down to three quarters of the budget, from each partition in proportion to
// what it holds. run calls it, and maintenance when the disk was full.
func (w *segmentWriter) flushAndEvict() error {
	parts := w.engine.allParts()
	w.plan(parts)
	budget := w.budgetBytes.Load()
	waiting, unwritten := unwrittenParts(parts)
	for _, u := range waiting {
		if u.bytes < largeWriteBytes && unwritten <= budget {
			break
		}
		if err := u.flush(); err != nil {
			return err
		}
		unwritten -= u.bytes
	}
	if held := w.measure(parts); held > budget {
		target := budget * 3 / 4
		for _, p := range parts {
			p.log.EvictTail(int64(float64(p.log.TailBytes()) * float64(target) / float64(held)))
		}
		w.measure(parts)
	}
	w.notifyWaiters()
	return nil
}

// unwrittenPart is a partition and the size of its unwritten batches, which are in memory and in no segment file.
type unwrittenPart struct {
	*part
	bytes int64
}

// unwrittenParts returns the partitions that have unwritten batches, those with the most bytes first, and the sum of
// the bytes.
func unwrittenParts(parts []*part) (unwritten []unwrittenPart, sum int64) {
	for _, p := range parts {
		if n := p.log.Unwritten(); n > 0 {
			unwritten, sum = append(unwritten, unwrittenPart{p, n}), sum+n
		}
	}
	slices.SortFunc(unwritten, func(a, b unwrittenPart) int { return cmp.Compare(b.bytes, a.bytes) })
	return unwritten, sum
}

// flush writes the unwritten batches of p to segment files. If the topic is deleted it does nothing, since the log may
// be closed.
func (p *part) flush() error {
	p.io.Lock()
	defer p.io.Unlock()
	if p.deleted.Load() {
		return nil
	}
	return p.log.Flush()
}

// measure computes correction from the sizes that the logs hold in memory, and returns their sum. Batches that are
// appended during the call may be counted twice until the next call.
func (w *segmentWriter) measure(parts []*part) int64 {
	before := w.appendedBytes.Load()
	var held int64
	for _, p := range parts {
		held += p.log.TailBytes()
	}
	w.correction.Store(held - before)
	return held
}

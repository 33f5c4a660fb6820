package engine

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tail keeps the memory that all partitions' recent batches take within its budget. Batches stay in memory after they are
// in a segment file, for the consumers at the tail, and leave it oldest first. One goroutine writes segments and evicts; it
// sleeps until enough has been appended.
//
// The size is known without a lock on the way of an append: everything appended since Open, plus a correction that
// each pass of the goroutine sets from what the logs say.
type tail struct {
	want        chan struct{} // holds one
	flushAt     atomic.Int64  // of Engine.appended: when the next pass is due
	correction  atomic.Int64  // Engine.appended + correction = bytes in memory, or slightly more
	budgetBytes atomic.Int64  // as of the last pass
	mostBytes   atomic.Int64  // beyond which producers wait, as of the last pass

	mu   sync.Mutex
	room sync.Cond // signalled after each pass, and when a checkpoint begins; on mu
	free bool      // the engine is fenced or closed: nobody waits any more
}

func (t *tail) init(e *Engine) {
	t.want = make(chan struct{}, 1)
	t.room.L = &t.mu
	t.plan(e, nil)
}

// The budget is Config.TailBytes while consumers are at the tail, and with a thousand partitions, for writes that are worth
// it. Otherwise a sixteenth of that is enough, for the consumers that come.
const (
	unreadAfter       = 10 * time.Second
	unreadShare       = 16
	budgetBytesOfPart = 32 << 10
)

// plan sets what the tails of these partitions may take until the next pass, and when that is due: when enough was appended
// for writes to be large and for looking at all partitions to cost nothing, and so little that a commit which meets the
// pass does not wait long for the disk. What may come in while it is under way is not in the budget.
func (t *tail) plan(e *Engine, parts []*part) {
	var readAt int64
	for _, p := range parts {
		readAt = max(readAt, p.log.TailReadAt())
	}
	budget := e.c.TailBytes
	if time.Since(time.Unix(0, readAt)) > unreadAfter {
		budget = min(max(budget/unreadShare, int64(len(parts))*budgetBytesOfPart), budget)
	}
	due := max(min(max(e.c.TailBytes/32, int64(len(parts))*passBytesOfPart), budget/2), 1)
	t.budgetBytes.Store(budget)
	t.mostBytes.Store(budget + max(e.c.TailBytes/8, 2*due))
	t.flushAt.Store(e.appended.Load() + due)
}

const passBytesOfPart = 4 << 10

// grown notes that bytes were appended, of which total is the sum since Open.
func (t *tail) grown(total int64) {
	if total >= t.flushAt.Load() {
		t.ask()
	}
}

// ask has a pass begun soon.
func (t *tail) ask() {
	select {
	case t.want <- struct{}{}:
	default:
	}
}

// admit blocks while tails take more memory than they may, or while twice the journal that should lie between checkpoints is
// written: segment files can't be written, or made durable, as fast as the journal. It returns at once when the engine is
// fenced or closed; the error says that the disk is full.
func (t *tail) admit(e *Engine) error {
	if !t.crowded(e) {
		return e.Full()
	}
	t.await(e, t.crowded)
	return e.Full()
}

// await blocks until it is not so crowded any more, the disk is full, or the engine is fenced or closed.
func (t *tail) await(e *Engine, crowded func(*Engine) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.free && crowded(e) && e.Full() == nil {
		if t.overfull(e) {
			t.ask() // none is due where the last one failed, or what was counted was refused since
		}
		t.room.Wait()
	}
}

// awaitRoom is admit for what is replayed: it is in the journal already.
func (t *tail) awaitRoom(e *Engine) {
	if t.overfull(e) {
		t.await(e, t.overfull)
	}
}

// overfull says that tails take more than they may with what comes in while a pass is under way.
func (t *tail) overfull(e *Engine) bool {
	return e.appended.Load()+t.correction.Load() > t.mostBytes.Load()
}

func (t *tail) crowded(e *Engine) bool {
	pending := e.pending.Load()
	return t.overfull(e) || pending > 2*e.distance.bytes() || e.behind.Load()+pending > e.mostToReplay()
}

// mostToReplay is how much the journal may hold that no checkpoint has, so that processes which end before their first
// checkpoint, one after the other, do not leave ever more to be replayed: as much as one that ends during a checkpoint
// leaves at most, which took longer than all else.
func (e *Engine) mostToReplay() int64 { return 4*e.distance.maxBytes() + e.c.MaxPendingBytes }

// admitted lets those who wait look again whether there is room.
func (t *tail) admitted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room.Broadcast()
}

// release lets everyone go who waits for room, for good.
func (t *tail) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = true
	t.room.Broadcast()
}

func (t *tail) run(e *Engine) {
	for {
		select {
		case <-e.closing:
			return
		case <-t.want:
		}
		if err := t.pass(e); err != nil {
			e.stumble(err)
		}
		if e.Err() != nil {
			return
		}
	}
}

// worthWriting is how much of one partition is written as soon as it is there: it makes a large write. Less than that waits
// for more, while there is memory: a thousand partitions that grow evenly are written in a fraction of the calls.
const worthWriting = 256 << 10

// pass writes what is unwritten, most of it first, until no more than the budget is left in partitions that have little
// each, and evicts down to three quarters of the budget, from each partition in proportion to what it holds, so that busy
// partitions keep more.
func (t *tail) pass(e *Engine) error {
	parts := e.allParts()
	t.plan(e, parts)
	budget := t.budgetBytes.Load()
	waiting, unwritten := waitingParts(parts)
	for _, w := range waiting {
		if w.bytes < worthWriting && unwritten <= budget {
			break
		}
		if err := w.flush(); err != nil {
			return err
		}
		unwritten -= w.bytes
	}
	if held := t.measure(e, parts); held > budget {
		target := budget * 3 / 4
		for _, p := range parts {
			p.log.EvictTail(int64(float64(p.log.TailBytes()) * float64(target) / float64(held)))
		}
		t.measure(e, parts)
	}
	t.admitted()
	return nil
}

// waitingPart is a partition with what it has in memory only.
type waitingPart struct {
	*part
	bytes int64
}

// waitingParts returns the partitions that have something in memory only, those that have most first, and the sum.
func waitingParts(parts []*part) (waiting []waitingPart, sum int64) {
	for _, p := range parts {
		if n := p.log.Unwritten(); n > 0 {
			waiting, sum = append(waiting, waitingPart{p, n}), sum+n
		}
	}
	slices.SortFunc(waiting, func(a, b waitingPart) int { return cmp.Compare(b.bytes, a.bytes) })
	return waiting, sum
}

// flush writes the log's unwritten batches to segment files, unless the topic is deleted and its log perhaps closed.
func (p *part) flush() error {
	p.io.Lock()
	defer p.io.Unlock()
	if p.deleted.Load() {
		return nil
	}
	return p.log.Flush()
}

// measure sets the correction from what the logs hold, and returns it. What is appended meanwhile may count twice
// until the next time.
func (t *tail) measure(e *Engine, parts []*part) int64 {
	before := e.appended.Load()
	var held int64
	for _, p := range parts {
		held += p.log.TailBytes()
	}
	t.correction.Store(held - before)
	return held
}

// allParts returns every partition, in no order.
func (e *Engine) allParts() []*part {
	e.mu.RLock()
	defer e.mu.RUnlock()
	parts := make([]*part, 0, len(e.parts))
	for _, p := range e.parts {
		parts = append(parts, p)
	}
	return parts
}
